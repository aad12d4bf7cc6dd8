for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", async () => {
  const source = document.getElementById(button.dataset.copy), said = button.parentElement.querySelector("[role=status]");
  try { await navigator.clipboard.writeText(source.textContent); said.textContent = "Copied."; }
  catch {
    getSelection().selectAllChildren(source);
    said.textContent = "Selected: press Ctrl C or ⌘ C.";
  }
});
