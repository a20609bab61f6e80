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
