// Runs the page's script on a document of stubs and prints what its handlers did, a line each.
const fs = require("fs");

const element = extra => Object.assign({
  handlers: {},
  addEventListener(name, handler) { this.handlers[name] = handler; },
  classes: new Set(),
  classList: null,
}, extra);
const withClasses = node => {
  node.classList = { toggle: (name, on) => on ? node.classes.add(name) : node.classes.delete(name) };
  return node;
};
const drawing = () => element({
  viewBox: { baseVal: { x: 0, width: 1000 } },
  getBoundingClientRect: () => ({ left: 10, width: 100 }),
});

const drawings = [drawing(), drawing()];
const ticks = [...Array(6)].map(() => ({ textContent: "" }));
const parts = ["1", "2"].map(layer => withClasses(element({ dataset: { layer } })));
const found = { "svg.time": drawings, ".axis": [{ children: ticks }], "[data-layer]": parts };
const section = withClasses(element({ querySelectorAll: query => found[query] }));
const empty = element({ querySelectorAll: () => [] });
global.document = { querySelectorAll: () => [section, empty] };
eval(fs.readFileSync(process.argv[2], "utf8"));

const seen = () => drawings.map(d => `${d.viewBox.baseVal.x}+${d.viewBox.baseVal.width}`).join(" ");
const wheel = deltaY => drawings[0].handlers.wheel({ preventDefault() {}, clientX: 60, deltaY });
wheel(-1);
console.log("zoom", seen(), ticks.map(tick => tick.textContent).join(" "));
drawings[1].handlers.pointermove({ buttons: 1, movementX: -20 });
console.log("drag", seen());
drawings[1].handlers.pointermove({ buttons: 0, movementX: -20 });
console.log("move", seen());
for (let i = 0; i !== 30; ++i) wheel(1);
console.log("out", seen());
wheel(-1);
drawings[0].handlers.dblclick();
console.log("all", seen());
const marks = () => [section, ...parts].map(part => [...part.classes].join() || "-").join(" ");
section.handlers.pointerover({ target: { closest: () => parts[1] } });
console.log("layer", marks());
section.handlers.pointerover({ target: { closest: () => null } });
console.log("nothing", marks());
