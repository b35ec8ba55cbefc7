"use strict";
// The steps stand in the page; this shows one of them, and what the graph looks like then.
const $ = id => document.getElementById(id);
const graph = $("graph"), takesGradient = JSON.parse($("nodes").textContent);
const all = [...document.querySelectorAll(".step")];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const nodes = new Map(), edges = new Map();
for (const g of graph.querySelectorAll("g.node")) {
  const id = g.querySelector("title").textContent, texts = [...g.querySelectorAll("text")];
  const node = { g, gradient: null, value: null };
  if (id in takesGradient) {
    if (takesGradient[id]) node.gradient = texts.pop();
    node.value = texts.pop();
    for (const text of [node.gradient, node.value]) if (text) text.classList.add("fills");
    if (node.gradient) node.gradient.classList.add("gradient");
    g.addEventListener("click", () => choose(id));
  }
  nodes.set(id, node);
}
for (const g of graph.querySelectorAll("g.edge")) {
  const ends = g.querySelector("title").textContent;
  edges.set(ends, [...(edges.get(ends) || []), g]);
}

let naive = false, steps = [], at = 0, timer = null;

const passOf = step => step.dataset.pass === "forward" ? "forward" : "backward";

function arrange() { // which steps there are, and the list to go to them
  steps = all.filter(s => s.dataset.order !== (naive ? "topological" : "depth-first"));
  $("place").max = steps.length - 1;
  const jump = $("jump"), groups = {};
  jump.textContent = "";
  steps.forEach((step, i) => {
    const pass = step.dataset.pass, group = groups[pass] ||= jump.appendChild(document.createElement("optgroup"));
    group.label = { forward: "Forward", backward: "Backward", result: "Result" }[pass];
    group.appendChild(new Option(`${i + 1}. ${step.querySelector("h3").textContent}`, i));
  });
}

function show(i, aloud = true) {
  at = Math.max(0, Math.min(i, steps.length - 1));
  const now = steps[at], pass = passOf(now);
  for (const step of all) step.classList.toggle("now", step === now);
  now.querySelector(".place").textContent = `step ${at + 1} of ${steps.length}`;
  for (const place of [graph, $("steps")]) place.classList.toggle("backward", pass === "backward");
  paint(now, pass);
  for (const line of document.querySelectorAll("#derivation li")) {
    const current = (now.dataset.lines || "").split(" ").includes(line.dataset.line);
    line.classList.toggle("now", current);
    if (current) line.setAttribute("aria-current", "step"); else line.removeAttribute("aria-current");
  }
  bring(document.querySelector("#derivation li.now"), document.querySelector("#derivation ol"));
  const said = now.querySelector(".sentence").textContent;
  $("place").value = at;
  $("place").setAttribute("aria-valuetext", `${at + 1} of ${steps.length}: ${now.querySelector("h3").textContent}`);
  $("jump").value = at;
  // Not `disabled`: a button that is, loses the focus and swallows the keys.
  for (const id of ["first", "back"]) $(id).setAttribute("aria-disabled", at === 0);
  for (const id of ["next", "last"]) $(id).setAttribute("aria-disabled", at === steps.length - 1);
  if (aloud) $("said").textContent = `Step ${at + 1} of ${steps.length}. ${said}`;
}

function paint(now, pass) {
  for (const node of nodes.values()) {
    node.g.classList.remove("now", "got", "later", "wrong");
    if (node.value) node.g.classList.add("later");
    if (node.gradient) node.gradient.textContent = "";
  }
  for (const g of [...edges.values()].flat()) g.classList.remove("flow", "flowed", "later");
  for (const step of steps.slice(0, at + 1)) {
    for (const [id, part, text, wrong] of JSON.parse(step.dataset.sets)) {
      const node = nodes.get(id);
      node.g.classList.remove("later");
      node[part].textContent = text;
      if (part === "gradient") node.g.classList.toggle("wrong", wrong);
    }
    for (const ends of named(step.dataset.edges)) {
      for (const g of edges.get(ends) || []) {
        g.classList.toggle("flow", step === now);
        g.classList.toggle("flowed", passOf(step) === "backward");
      }
    }
  }
  if (pass === "forward") {
    for (const [ends, list] of edges) {
      const head = nodes.get(ends.split("->")[1]);
      if (head.g.classList.contains("later")) for (const g of list) g.classList.add("later");
    }
  }
  for (const id of named(now.dataset.got)) nodes.get(id).g.classList.add("got");
  const active = nodes.get(now.dataset.node);
  if (active) active.g.classList.add("now");
  bring((active || nodes.get(named(now.dataset.got)[0])).g, graph);
}

const named = text => text ? text.split(" ") : [];

function bring(part, place) { // into the middle of what scrolls, and only that
  if (!part || !place) return;
  const a = part.getBoundingClientRect(), b = place.getBoundingClientRect();
  place.scrollTo({
    left: place.scrollLeft + a.left - b.left - (b.width - a.width) / 2,
    top: place.scrollTop + a.top - b.top - (b.height - a.height) / 2,
    behavior: calm.matches ? "auto" : "smooth",
  });
}

function choose(id) { // to the step of a node: in this pass, or in the other where it is that already
  pause();
  const here = passOf(steps[at]), mine = steps.filter(s => s.dataset.node === id && s !== steps[at]);
  const step = mine.find(s => passOf(s) === here) || mine[0];
  if (step) show(steps.indexOf(step));
}

function play() {
  if (at === steps.length - 1) show(0);
  $("play").textContent = "Pause";
  const tick = () => {
    timer = setTimeout(() => {
      show(at + 1);
      if (at === steps.length - 1) pause(); else tick();
    }, 2000 / Number($("speed").value));
  };
  tick();
}

function pause() {
  clearTimeout(timer);
  timer = null;
  $("play").textContent = "Play";
}

function go(i) {
  pause();
  show(i);
}

const toggle = () => timer ? pause() : play();
$("first").addEventListener("click", () => go(0));
$("back").addEventListener("click", () => go(at - 1));
$("play").addEventListener("click", toggle);
$("next").addEventListener("click", () => go(at + 1));
$("last").addEventListener("click", () => go(steps.length - 1));
$("place").addEventListener("input", () => go(Number($("place").value)));
$("jump").addEventListener("change", () => go(Number($("jump").value)));
$("naive").addEventListener("change", () => {
  naive = $("naive").checked;
  arrange();
  go(steps.findIndex(s => passOf(s) === "backward"));
});
addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("select, input, #graph") && event.key !== " ") return;
  if (event.target.closest("select, input, button") && event.key === " ") return;
  const act = {
    ArrowRight: () => go(at + 1), ArrowLeft: () => go(at - 1), Home: () => go(0), End: () => go(steps.length - 1),
    " ": toggle,
  }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});
naive = $("naive").checked = false; // a browser may remember it
arrange();
show(0, false);
