{
  const box = document.getElementById("q"), found = document.getElementById("found");
  const chips = [...document.querySelectorAll(".chip[data-find]")], rows = [...document.querySelectorAll("tr[data-find]")];
  const look = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = e => words.every(w => e.dataset.find.includes(w));
    for (const e of [...chips, ...rows]) e.classList.toggle("dim", !fits(e));
    for (const row of document.querySelectorAll(".map tbody tr")) row.hidden = !row.querySelector(".chip:not(.dim)");
    const left = chips.filter(c => !c.classList.contains("dim"));
    found.textContent = words.length === 0 ? "" : left.length === 0 ? "No method fits." :
      `${left.length} ${left.length === 1 ? "method fits" : "methods fit"}; Enter opens ${left[0].dataset.name}.`;
    return left;
  };
  box.addEventListener("input", look);
  document.getElementById("search").addEventListener("submit", event => {
    event.preventDefault();
    const left = look();
    if (left.length) location.href = left[0].href;
  });
}
