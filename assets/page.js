// What the page does beside Gradio.

// One panel at a time lies over the page, opened by its button.
function togglePanel(name) {
  const { dataset } = document.body;
  if (dataset.panel === name) delete dataset.panel;
  else dataset.panel = name;
}
addEventListener("keydown", event => {
  // The first closes an open list.
  if (event.key === "Escape" && !document.querySelector(".options")) delete document.body.dataset.panel;
}, { capture: true });
addEventListener("pointerdown", event => {
  const inside = ".lens-panel, #photo-button, #settings-button, .options, .image-container, dialog";
  if (!event.target.closest(inside)) delete document.body.dataset.panel;
});

function showThumbnail() {
  const button = document.querySelector("#photo-button"), shown = document.querySelector("#image img");
  if (!button) return;
  const source = shown ? `url("${shown.src}")` : "none";
  if (button.dataset.source === source) return;
  button.dataset.source = source;
  button.style.setProperty("--photo", source);
  button.classList.toggle("lens-empty", !shown);
}
new MutationObserver(showThumbnail).observe(document, {
  subtree: true, childList: true, attributes: true, attributeFilter: ["src"],
});

// Stop is there while an analysis or draws are to come; what is shown may answer a former form.
const now = { analysing: false, drawing: false, stopped: false, old: false };
function tell(news) {
  Object.assign(now, news);
  const marks = { "lens-running": now.analysing || (now.drawing && !now.stopped), "lens-analysing": now.analysing, "lens-old": now.old };
  for (const [name, on] of Object.entries(marks)) document.body.classList.toggle(name, on);
  document.querySelector("#progress p").textContent =
    [now.stopped ? "Stopped." : "", now.old ? "The form has changed since: press Analyse." : ""].join(" ").trim();
}
const forms = {}; // as sent, and as the result shown was made of
function asking(form) {
  forms.sent = JSON.stringify(form);
  tell({ analysing: true, stopped: false });
}
function answered(form, sent = forms.sent) {
  forms.shown = sent;
  tell({ stopped: false });
  edited(form);
}
function edited(form) {
  tell({ old: JSON.stringify(form) !== forms.shown });
}

// A plot drawn on a closed tab has no width yet. A link leads to the tab before the one that makes links.
const looked = {};
function visited() {
  tell({ stopped: false });
  dispatchEvent(new Event("resize"));
  const open = id => document.querySelector(`#${id} > .tab-wrapper [role="tab"][aria-selected="true"]`)?.textContent.trim();
  if (open("tabs") !== "Save") looked.tab = open("tabs");
  looked.view = looked.tab === "Lab" ? open("lab") : undefined;
}

// The place in the queue, in words; Gradio's own are "queue: 1/2 | 3.1/12.0s", seconds so far and in all.
function tellWait() {
  const said = document.querySelector("#progress .progress-text")?.textContent ?? "", note = document.querySelector("#progress .html-container span");
  const place = said.match(/queue: (\d+)\/(\d+)/), seconds = said.match(/([\d.]+)\/([\d.]+)s/);
  const left = seconds ? `, about ${Math.max(1, Math.ceil(seconds[2] - seconds[1]))} s` : "";
  const text = place ? `In the queue: place ${place[1]} of ${place[2]}${left}` : "";
  if (note && note.textContent !== text) note.textContent = text;
}
new MutationObserver(tellWait).observe(document, { subtree: true, childList: true, characterData: true });

// What a link says of where to look: the overview's state, as `DropleLens.mount` takes it.
const NUMBERS = ["layer", "opacity"], WORDS = ["signal", "class", "branch", "read"];
function lookedAt(query) {
  const asked = new URLSearchParams(query), state = {};
  for (const name of NUMBERS) if (asked.has(`look-${name}`)) state[name] = Number(asked.get(`look-${name}`));
  for (const name of WORDS) if (asked.has(`look-${name}`)) state[name] = asked.get(`look-${name}`);
  if (asked.has("look-draw")) state.draw = Number(asked.get("look-draw")) || "all";
  return state;
}
function lookingAt(query) {
  for (const [name, value] of Object.entries(window.lens?.state() ?? {}))
    if ([...NUMBERS, ...WORDS, "draw"].includes(name) && value !== null) query.set(`look-${name}`, value);
  for (const [name, value] of Object.entries(looked)) if (value) query.set(`look-${name}`, value);
}

// A request that is too large would be cut off without a word.
const MOST = 20;
function tooMuch(files) {
  const size = Math.ceil([...files].reduce((sum, file) => sum + file.size, 0) / 2 ** 20), refused = size > MOST;
  document.querySelector("#batch-refused p").textContent = refused ? `These are ${size} MB; at most ${MOST} are taken at a time.` : "";
  return refused;
}
addEventListener("change", event => {
  const many = event.target.type === "file" && (event.target.webkitdirectory || event.target.closest("#batch-files"));
  if (many && tooMuch(event.target.files)) event.stopImmediatePropagation();
}, { capture: true });

// Gradio takes dropped files, but of a dropped folder none: its pictures are given as if they were chosen.
async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const reader = entry.createReader(), found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at most
    if (!some.length) return (await Promise.all(found.map(filesOf))).flat();
    found.push(...some);
  }
}
addEventListener("drop", async event => {
  const box = event.target.closest?.("#batch-files"), input = box?.querySelector("input[type=file]");
  const entries = input ? [...event.dataTransfer.items].map(one => one.webkitGetAsEntry()).filter(Boolean) : [];
  const folders = entries.some(one => one.isDirectory), refused = input && !folders && tooMuch(event.dataTransfer.files);
  if (!folders && !refused) return;
  event.preventDefault();
  event.stopPropagation();
  if (refused) return;
  const chosen = new DataTransfer();
  for (const file of (await Promise.all(entries.map(filesOf))).flat()) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change"));
}, { capture: true });

// Plots are drawn by the browser, so the browser hands their pictures over; the rest is made on the server.
async function handOver(ids, values) {
  const plots = {};
  for (const id of ids) {
    const plot = document.querySelector(`#${id} .js-plotly-plot`);
    const { width, height } = plot?.getBoundingClientRect() ?? {};
    if (!width || !window.Plotly) continue;
    const svg = await Plotly.toImage(plot, { format: "svg", width, height });
    const png = await Plotly.toImage(plot, { format: "png", width, height, scale: 2 });
    plots[id] = { svg: decodeURIComponent(svg.slice(svg.indexOf(",") + 1)), png: png.split(",")[1] };
  }
  return [JSON.stringify(plots), ...values.slice(1)];
}
function keepZip(file) {
  if (!file?.data) return;
  const bytes = Uint8Array.from(atob(file.data), c => c.charCodeAt(0));
  DropleLens.keepFile(new Blob([bytes], { type: "application/zip" }), file.name);
}
