"use strict";
// Every column of a table sorts by a press on its heading: ascending, then descending; what is missing stays last.

const words = new Intl.Collator("en", { numeric: true });

function value(row, index, numeric) {
  const cell = row.cells[index];
  if (!numeric) return cell.textContent.trim();
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

function compare(a, b, sense) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sense * (typeof a === "number" ? a - b : words.compare(a, b));
}

function sort(table, heading) {
  const index = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const sense = heading.ariaSort === "ascending" ? -1 : 1;
  const keyed = Array.from(table.tBodies[0].rows, (row) => [value(row, index, numeric), row]);
  keyed.sort(([a], [b]) => compare(a, b, sense));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  heading.ariaSort = sense === 1 ? "ascending" : "descending";
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length < 2) continue;
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.ariaSort = "none";
    button.addEventListener("click", () => sort(table, heading));
  }
}

// A model that is not wanted leaves every table.

const models = document.getElementById("models");
if (models) {
  models.hidden = false;
  models.addEventListener("change", ({ target }) => {
    for (const row of document.querySelectorAll("tr[data-model]")) {
      if (row.dataset.model === target.value) row.hidden = !target.checked;
    }
  });
}

// The contents are open beside the text and closed above it; a link opens the folds around its end, and printing opens all.

const menu = document.getElementById("menu");
menu.open = matchMedia("(min-width: 64rem)").matches;

function reveal() {
  const end = location.hash && document.getElementById(location.hash.slice(1));
  if (!end) return;
  for (let fold = end.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  end.scrollIntoView();
}

addEventListener("hashchange", reveal);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => (fold.open = true)));
reveal();
