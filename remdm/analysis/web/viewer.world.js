// The world, the map, and what the player has: drawn of one film.

/** Pictures [N, p, p, 3] as one canvas, in a row of rows. */
class Atlas {
  constructor(pictures) {
    this.size = pictures.shape[1];
    this.columns = Math.min(pictures.length, 64) || 1;
    const rows = Math.ceil(pictures.length / this.columns) || 1;
    this.canvas = element("canvas", { width: this.columns * this.size, height: rows * this.size });
    const context = this.canvas.getContext("2d");
    for (let i = 0; i < pictures.length; i++) {
      const image = context.createImageData(this.size, this.size);
      const pixels = pictures.at(i);
      for (let j = 0; j < this.size * this.size; j++) {
        image.data.set([pixels[3 * j], pixels[3 * j + 1], pixels[3 * j + 2], 255], 4 * j);
      }
      context.putImageData(image, ...this.place(i));
    }
  }

  place(i) {
    return [(i % this.columns) * this.size, Math.floor(i / this.columns) * this.size];
  }

  draw(context, i, x, y) {
    context.drawImage(this.canvas, ...this.place(i), this.size, this.size, x, y, this.size, this.size);
  }
}

/** The player's view as the game draws it, darker by night. */
function drawWorld(canvas, film, sprites, t) {
  const [, rows, columns] = film.views.shape;
  const size = sprites.size;
  if (canvas.width !== columns * size) {
    canvas.width = columns * size;
    canvas.height = rows * size;
  }
  const context = canvas.getContext("2d");
  film.views.at(t).forEach((sprite, i) => {
    sprites.draw(context, sprite, (i % columns) * size, Math.floor(i / columns) * size);
  });
  const light = film.light.at(t) / 255;
  context.fillStyle = `rgba(0, 8, 40, ${0.65 * (1 - light)})`;
  context.fillRect(0, 0, film.localView.at(1) * size, film.localView.at(0) * size);
  const [floor, row, column] = film.places.at(t);
  const night = light < 0.75 ? `, ${percent(light)} light` : "";
  const where = film.floors > 1 ? `floor ${floor}, ` : "";
  canvas.setAttribute("aria-label", `The world at step ${t}: the player at ${where}row ${row}, column ${column}${night}`);
}

/** A floor of the world at any step, and the path up to it. */
class WorldMap {
  constructor(canvas, film, tiles) {
    Object.assign(this, { canvas, film, tiles, whole: false, floor: -1 });
    this.blocks = film.world.data.slice();  // as it is at the step `t`
    this.t = film.steps;
    const [, rows, columns] = film.world.shape;
    this.picture = element("canvas", { width: columns * tiles.size, height: rows * tiles.size });
    this.changed = new Map();
    for (let i = 0; i < film.changes.length; i++) {
      const change = film.changes.at(i);
      this.changed.set(change[0], [...(this.changed.get(change[0]) ?? []), change]);
    }
  }

  /** Let the blocks be those of a step, by the changes on the way there. */
  seek(t) {
    while (this.t < t) this.apply(++this.t, 5);
    while (this.t > t) this.apply(this.t--, 4);
  }

  apply(step, kind) {
    const [, rows, columns] = this.film.world.shape;
    for (const change of this.changed.get(step) ?? []) {
      const [, floor, row, column] = change;
      this.blocks[(floor * rows + row) * columns + column] = change[kind];
      if (floor === this.floor) this.drawBlock(row, column);
    }
  }

  drawBlock(row, column) {
    const [, rows, columns] = this.film.world.shape;
    const kind = this.blocks[(this.floor * rows + row) * columns + column];
    this.tiles.draw(this.picture.getContext("2d"), kind, column * this.tiles.size, row * this.tiles.size);
  }

  drawFloor(floor) {
    const [, rows, columns] = this.film.world.shape;
    this.floor = floor;
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) this.drawBlock(row, column);
  }

  /** The corner and the side of the square that is shown: the floor, or where the path runs on it. */
  frame() {
    const [, rows, columns] = this.film.world.shape;
    const side = Math.max(rows, columns);
    if (this.whole) return [0, 0, side];
    const places = Array.from({ length: this.film.steps + 1 }, (_, t) => this.film.places.at(t));
    const here = places.filter(([floor]) => floor === this.floor);
    const range = (axis) => [Math.min, Math.max].map((end) => end(...here.map((place) => place[axis])));
    const [top, bottom] = range(1);
    const [left, right] = range(2);
    const near = Math.min(side, Math.max(16, bottom - top + 7, right - left + 7));
    const corner = (low, high, length) => Math.max(0, Math.min(length - near, Math.round((low + high - near) / 2)));
    return [corner(top, bottom, rows), corner(left, right, columns), near];
  }

  draw(t) {
    this.seek(t);
    const { film, canvas, tiles } = this;
    const [floor] = film.places.at(t);
    if (floor !== this.floor) this.drawFloor(floor);
    const [top, left, side] = this.frame();
    const pixels = 640;
    canvas.width = canvas.height = pixels;
    const context = canvas.getContext("2d");
    const scale = pixels / side;
    const [x, y, size] = [left, top, side].map((blocks) => blocks * tiles.size);
    context.drawImage(this.picture, x, y, size, size, 0, 0, pixels, pixels);
    const at = (step) => {
      const [, row, column] = film.places.at(step);
      return [(column - left + 0.5) * scale, (row - top + 0.5) * scale];
    };
    context.beginPath();
    for (let step = 0, drawn = false; step <= t; step++) {
      const here = film.places.at(step)[0] === floor;
      if (here) context[drawn ? "lineTo" : "moveTo"](...at(step));
      drawn = here;
    }
    context.lineJoin = "round";
    for (const [width, colour] of [[6, "#000"], [3, "#fff"]]) {
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.stroke();
    }
    const dot = (step, radius, colour, text = "") => {
      if (film.places.at(step)[0] !== floor) return;
      const [x, y] = at(step);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = colour;
      context.lineWidth = 2;
      context.strokeStyle = "#000";
      context.fill();
      context.stroke();
      context.fillStyle = "#000";
      context.fillText(text, x, y + 1);
    };
    context.font = "bold 15px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    dot(0, 7, "#56b4e9");
    film.unlocked.forEach(({ step }, i) => { if (step && step <= t) dot(step, 11, "#ffd84d", String(i + 1)); });
    dot(t, 8, "#ff7f50");
    const count = film.unlocked.filter(({ step }) => step && step <= t).length;
    canvas.setAttribute("aria-label", `Map with the path of ${t} steps and where ${count} achievements were unlocked`);
  }
}
