"use strict";
// Sort a table by the column whose heading is pressed: numbers by value, best first; then the other way round.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
    const place = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") !== (place ? "descending" : "ascending");
    const direction = (place ? down : !down) ? -1 : 1;
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction < 0 ? "descending" : "ascending");
    const key = (row) => {
      const cell = row.children[place];
      return "value" in cell.dataset ? (cell.dataset.value === "" ? NaN : Number(cell.dataset.value)) : cell.textContent;
    };
    const rows = [...body.rows].sort((one, two) => {
      const a = key(one), b = key(two);
      if (typeof a === "string" || typeof b === "string") return direction * String(a).localeCompare(String(b));
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // missing ones last
      return direction * (a - b);
    });
    body.append(...rows);
  });
}
// Say where something goes on beyond the right edge; a shadow there goes when its end is reached.
const wide = [...document.querySelectorAll(".wide, figure")];
const look = (box) => {
  const hint = box.previousElementSibling;
  box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
  if (hint && hint.classList.contains("hint")) hint.hidden = box.scrollWidth <= box.clientWidth + 2;
};
for (const box of wide) box.addEventListener("scroll", () => look(box), { passive: true });
const lookAll = () => wide.forEach(look);
addEventListener("load", lookAll);
addEventListener("resize", lookAll);
document.addEventListener("toggle", lookAll, true); // details that were opened
// Show the runs behind a number, and how to repeat them, where the number is.
const dialog = document.querySelector("dialog");
for (const link of document.querySelectorAll("a[data-runs]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const list = dialog.querySelector(".list");
    dialog.querySelector("h3").textContent = link.dataset.title;
    dialog.querySelector("p").textContent = link.title;
    list.replaceChildren(...link.dataset.runs.split(" ").map((run) => {
      const copy = document.getElementById(run).cloneNode(true);
      copy.removeAttribute("id");
      return copy;
    }));
    dialog.showModal();
    dialog.scrollTop = 0;
  });
}
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.querySelector("button").addEventListener("click", () => dialog.close());
