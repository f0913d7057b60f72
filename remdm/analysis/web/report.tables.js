// Tables that sort and filter. Without scripts they are complete too.

/** Sorting by a click on a heading, a filter above, and a button at each row that has runs. */
class SortedTable {
  constructor(root, openRuns) {
    this.body = root.querySelector("tbody");
    this.rows = [...this.body.rows];
    this.heads = [...root.querySelectorAll("th")];
    this.players = this.rows.map((row) => numbers(row.dataset.players));
    this.texts = this.rows.map((row) => row.textContent.toLowerCase());
    this.heads.forEach((head, column) => {
      const button = element("button", { type: "button" }, head.textContent);
      button.addEventListener("click", () => this.sort(column));
      head.replaceChildren(button);
    });
    for (const row of this.rows) {
      if (row.dataset.runs === undefined) continue;
      const [cell] = row.cells;
      const button = element("button", { type: "button", title: "Its runs" }, cell.textContent);
      button.addEventListener("click", () => openRuns(numbers(row.dataset.runs)));
      cell.replaceChildren(button);
    }
    this.count = element("output", { class: "note" });
    this.wanted = "";
    if (this.rows.length > 8) {
      const filter = element("input", { type: "search", placeholder: "Filter rows", "aria-label": "Filter rows" });
      filter.addEventListener("input", () => { this.wanted = filter.value.toLowerCase(); this.filter(); });
      root.querySelector(".wide").before(element("p", { class: "buttons filter" }, filter, this.count));
    }
    this.isOn = () => true;
  }

  /** Up, then down; what has no value stays last. */
  sort(column) {
    const down = this.heads[column].ariaSort === "ascending";
    for (const head of this.heads) head.ariaSort = null;
    this.heads[column].ariaSort = down ? "descending" : "ascending";
    const value = ({ cells }) => {
      const cell = cells[column];
      if (!cell.classList.contains("n")) return cell.textContent;
      return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    const keyed = this.rows.map((row) => [value(row), row]);
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      const order = typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
      return down ? -order : order;
    });
    this.body.append(...keyed.map(([, row]) => row));
  }

  /** Show the rows with the wanted words whose players are all on. */
  filter() {
    const words = this.wanted.split(/\s+/).filter(Boolean);
    let count = 0;
    this.rows.forEach((row, i) => {
      row.hidden = !(this.players[i].every(this.isOn) && words.every((word) => this.texts[i].includes(word)));
      count += !row.hidden;
    });
    this.count.textContent = count === this.rows.length ? `${count} rows` : `${count} of ${this.rows.length} rows`;
  }
}

const numbers = (text) => (text ? text.split(" ").map(Number) : []);
