"""A picture as a page of its own: the SVG, to drag and to zoom, with nothing to load."""

from __future__ import annotations

import html

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
html, body {{ margin: 0; height: 100%; background: #fff; color: #222; font: 14px/1.4 Helvetica, Arial, sans-serif; }}
main {{ height: 100%; overflow: hidden; cursor: grab; touch-action: none; }}
main > svg {{ width: 100%; height: 100%; }}
p {{ position: fixed; left: 0; bottom: 0; margin: 0; padding: 6px 10px; opacity: .75; }}
@media (prefers-color-scheme: dark) {{ html, body {{ background: #1d1e22; color: #eee; }} }}
</style>
</head>
<body>
<main tabindex="0" aria-label="{title}">
{svg}
</main>
<p>{title}. Drag to move, wheel or + and − to zoom, 0 to fit. Point at a node or an arrow.</p>
<script>
const svg = document.querySelector("main > svg"), place = svg.parentElement;
const whole = svg.viewBox.baseVal, fit = [whole.x, whole.y, whole.width, whole.height];
let box = fit.slice(), held = null;
const show = () => svg.setAttribute("viewBox", box.join(" "));
const scale = () => Math.max(box[2] / place.clientWidth, box[3] / place.clientHeight);
const zoom = (by, x, y) => {{
  box = [x - (x - box[0]) * by, y - (y - box[1]) * by, box[2] * by, box[3] * by];
  show();
}};
place.addEventListener("wheel", event => {{
  event.preventDefault();
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, at.x, at.y);
}}, {{ passive: false }});
place.addEventListener("pointerdown", event => {{ held = [event.clientX, event.clientY]; }});
addEventListener("pointerup", () => {{ held = null; }});
addEventListener("pointermove", event => {{
  if (!held) return;
  const by = scale();
  box[0] -= (event.clientX - held[0]) * by;
  box[1] -= (event.clientY - held[1]) * by;
  held = [event.clientX, event.clientY];
  show();
}});
addEventListener("keydown", event => {{
  const middle = [box[0] + box[2] / 2, box[1] + box[3] / 2];
  if (event.key === "+" || event.key === "=") zoom(1 / 1.25, ...middle);
  else if (event.key === "-") zoom(1.25, ...middle);
  else if (event.key === "0") {{ box = fit.slice(); show(); }}
}});
</script>
</body>
</html>
"""


def page(svg: str, title: str) -> str:
    """The HTML of a picture.

    Args:
        svg: the picture.
        title: what it is, in a line.
    """
    return _PAGE.format(svg=svg, title=html.escape(title))
