"""How the kinds of boxes look, in light and in dark."""

from __future__ import annotations

# A kind is told by its shape (in print) and by its colour: tints of the palette of Okabe & Ito, "Color Universal
# Design", 2008, which people with any kind of colour vision tell apart.
STYLES = {
    "parameter": 'shape=box, peripheries=2, margin="0.16,0.05", fillcolor="#fbe3b3", color="#a06c00"',
    "data": 'shape=note, fillcolor="#d5ecf9", color="#0072b2"',
    "constant": 'shape=box, margin="0.09,0.06", fontsize=10, fillcolor="#eeeeee", color="#888888"',
    "op": 'shape=ellipse, margin="0.06,0.03", fillcolor="#ffffff", color="#555555"',
    "named": 'shape=box, style="filled,rounded", penwidth=2.2, fillcolor="#aedccb", color="#00704f"',
    "module": 'shape=box3d, margin="0.2,0.1", fillcolor="#f0d9e6", color="#9c4f7c"',
    "gradient": 'shape=box, style="filled,diagonals", margin="0.16,0.08", fillcolor="#fdf6c3", color="#7d7300"',
}
PATH = 'color="#d50000", penwidth=3'
"""Red, and thick where colour does not print: the path to what went wrong."""

DARK = {
    "#fbe3b3": "#4a3608",
    "#a06c00": "#e69f00",
    "#d5ecf9": "#0f3550",
    "#0072b2": "#56b4e9",
    "#eeeeee": "#33343a",
    "#888888": "#8d8f98",
    "#ffffff": "#1d1e22",
    "white": "#1d1e22",
    "#555555": "#b4b6bd",
    "#aedccb": "#0c4434",
    "#00704f": "#2fbf94",
    "#f0d9e6": "#4b2a3d",
    "#9c4f7c": "#e29ac4",
    "#fdf6c3": "#45400c",
    "#7d7300": "#f0e442",
    "#666666": "#9a9ca5",
    "#444444": "#d0d2d8",
    "#f7f7f9": "#26272c",
    "#bbbbc4": "#55565f",
    "#d50000": "#ff6b5e",
}
"""Each colour of a light picture in a dark one. Text is black on light and white on dark."""


def css() -> str:
    """The style of a picture's SVG.

    Helvetica's metrics are what the layout is made with; these fonts share them. Bold: names, and ops without a name.
    """
    dark = "".join(
        f'.tn [{attribute}="{light}" i]{{{attribute}:{shade}}}'
        for light, shade in DARK.items()
        for attribute in ("fill", "stroke")
    )
    return (
        '<style>.tn text{font-family:Helvetica,Arial,"Liberation Sans","Nimbus Sans",sans-serif}'
        ".tn-titled text:first-of-type{font-weight:bold}.tn-symbol text:first-of-type{font-size:15px}"
        ".tn a{cursor:default}.tn .edge:hover path{stroke-width:3}"
        f"@media (prefers-color-scheme:dark){{{dark}.tn text:not([fill]),.tn .tn-math{{fill:#f1f1f3}}}}</style>\n"
    )
