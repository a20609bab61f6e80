// What the page does beside Gradio: panels over it, and the photograph on its button.
addEventListener("keydown", event => {
  if (event.key === "Escape") delete document.body.dataset.panel;
});
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

/** Marks all that is shown, on every tab, as of the former form, or as of this one. */
function markOld(old) {
  document.body.classList.toggle("lens-old", old);
  document.querySelector("#progress p").textContent = old ? "The form has changed since: press Analyse." : "";
}

// A plot drawn on a closed tab has no width yet. A link leads to the tab before the one that makes links.
const looked = {};
function visited() {
  dispatchEvent(new Event("resize"));
  const open = id => document.querySelector(`#${id} > .tab-wrapper [role="tab"][aria-selected="true"]`)?.textContent.trim();
  if (open("tabs") !== "Save") looked.tab = open("tabs");
  looked.view = looked.tab === "Lab" ? open("lab") : undefined;
}

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
  if (!entries.some(one => one.isDirectory)) return;
  event.preventDefault();
  event.stopPropagation();
  const chosen = new DataTransfer();
  for (const file of (await Promise.all(entries.map(filesOf))).flat()) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change"));
}, { capture: true });
