// Drawings of one section share their time: the wheel zooms into it, a drag moves it, a double click
// shows all. What belongs to the layer under the pointer stands out everywhere.
for (const section of document.querySelectorAll("section")) {
  const drawings = [...section.querySelectorAll("svg.time")];
  const axes = [...section.querySelectorAll(".axis")];
  if (drawings.length === 0) continue;
  const end = drawings[0].viewBox.baseVal.width;
  let from = 0, width = end;
  const show = () => {
    width = Math.max(Math.min(width, end), 1);
    from = Math.max(Math.min(from, end - width), 0);
    for (const drawing of drawings) {
      drawing.viewBox.baseVal.x = from;
      drawing.viewBox.baseVal.width = width;
    }
    for (const axis of axes) {
      [...axis.children].forEach((tick, i) => {
        tick.textContent = Math.round(from + width * i / (axis.children.length - 1)).toLocaleString("en");
      });
    }
  };
  for (const drawing of drawings) {
    const time = event => {
      const place = drawing.getBoundingClientRect();
      return from + width * (event.clientX - place.left) / place.width;
    };
    drawing.addEventListener("wheel", event => {
      event.preventDefault();
      const centre = time(event), factor = event.deltaY > 0 ? 1.25 : 0.8;
      from = centre - (centre - from) * factor;
      width = width * factor;
      show();
    }, { passive: false });
    drawing.addEventListener("pointermove", event => {
      if (event.buttons !== 1) return;
      from = from - width * event.movementX / drawing.getBoundingClientRect().width;
      show();
    });
    drawing.addEventListener("dblclick", () => { from = 0; width = end; show(); });
  }
  section.addEventListener("pointerover", event => {
    const owner = event.target.closest("[data-layer]");
    const layer = owner === null ? "0" : owner.dataset.layer;
    section.classList.toggle("marked", layer !== "0");
    for (const part of section.querySelectorAll("[data-layer]")) {
      part.classList.toggle("mine", part.dataset.layer === layer);
    }
  });
}
