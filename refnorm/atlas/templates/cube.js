for (const range of document.querySelectorAll("input.rows")) {
  const figure = range.closest("figure"), faces = [...figure.querySelectorAll(".e")], said = figure.querySelector("output");
  const blockOf = new Map(faces.map(f => [f.dataset.row, f.dataset.block]));
  const rows = [...new Set([...blockOf.values()])].map(b => faces.filter(f => f.dataset.block === b).map(f => +f.dataset.row));
  const show = row => {
    const block = blockOf.get(String(row));
    const least = Math.min(...(rows.find(r => r.includes(row)) ?? [row]));
    for (const face of faces) {
      face.classList.remove("lit", "j0", "j1", "j2", "j3");
      if (face.dataset.block === block) face.classList.add("lit", `j${(+face.dataset.row - least) % 4}`);
    }
    said.textContent = `${row + 1} of ${+range.max + 1}${block === undefined ? ", hidden from here" : ""}`;
  };
  range.addEventListener("input", () => show(+range.value));
  for (const face of faces) face.addEventListener("pointerenter", () => { range.value = face.dataset.row; show(+range.value); });
}
