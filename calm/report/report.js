// A click on a column's name sorts by it: the best first, then the other way round. Originals stay where they are.
for (const table of document.querySelectorAll("table.results")) {
  const body = table.querySelector("tbody.systems");
  const heads = [...table.querySelectorAll(".sortable > th")];
  const place = (row) => Number(row.dataset.place);
  const compare = (a, b, index, sign) => {
    const one = a.cells[index].dataset.value, other = b.cells[index].dataset.value;
    if (one === undefined || other === undefined) return (one === undefined) - (other === undefined) || place(a) - place(b);
    const order = index ? Number(one) - Number(other) : one.localeCompare(other);
    return sign * order || place(a) - place(b);
  };
  heads.forEach((head, index) => {
    head.querySelector("button").addEventListener("click", () => {
      const best = head.dataset.better === "lower" ? "ascending" : "descending";
      const worst = best === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === best ? worst : best;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      body.append(...[...body.rows].sort((a, b) => compare(a, b, index, sign)));
    });
  });
}
