"use strict";
(() => {
  const source = document.getElementById("clips");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const PER_STEP = 12, FIRST = 6;
  let playing = null;

  // Names and labels only ever become text nodes and plain attributes: nothing in them is read as markup.
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  // A name written from right to left must not pull what follows it into itself.
  const isolated = (name) => (/[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/.test(name) ? "\u2068" + name + "\u2069" : name);
  const classes = data.classes.map(isolated);
  const names = (numbers) => numbers.map((k) => classes[k]).join(" + ") || "nothing";
  const percent = (p) => (p > 0.9949 && p < 1 ? "> 99" : p > 0 && p < 0.005 ? "< 1" : Math.round(100 * p)) + "\u202f%";
  const seconds = (s) => s.toFixed(1) + "\u202fs";

  function player(clip) {
    const box = make("div", "player");
    const view = make("div", "view");
    if (clip.picture) {
      const image = make("img");
      image.src = "data:image/webp;base64," + clip.picture;
      image.alt = "Spectrogram of " + clip.id;
      view.append(image);
    } else {
      view.append(make("span", "none", "no spectrogram in this page"));
    }
    box.append(view);
    if (!clip.sound) return box;
    const audio = make("audio");
    audio.preload = "none";
    const button = make("button", "play");
    button.type = "button";
    const place = make("input");
    Object.assign(place, { type: "range", min: 0, max: clip.shown_s || clip.seconds, step: 0.05, value: 0 });
    place.setAttribute("aria-label", "Position in " + clip.id);
    const line = make("span", "line");
    view.append(line, place);
    box.append(button, audio);
    const show = () => {
      const on = !audio.paused;
      const end = audio.duration || Number(place.max);
      button.setAttribute("aria-label", (on ? "Pause " : "Play ") + clip.id);
      button.classList.toggle("on", on);
      line.style.left = Math.min(100, (100 * audio.currentTime) / end) + "%";
      line.hidden = !on && audio.currentTime === 0;
      place.value = audio.currentTime;
      place.setAttribute("aria-valuetext", seconds(audio.currentTime) + " of " + seconds(end));
      if (on) requestAnimationFrame(show);
    };
    const start = () => {
      if (!audio.src) audio.src = "data:" + clip.kind + ";base64," + clip.sound;
      if (playing && playing !== audio) playing.pause();
      playing = audio;
      audio.play().catch((error) => {
        if (error.name !== "AbortError") view.append(make("span", "none", "this browser cannot play the sound"));
      });
    };
    button.addEventListener("click", () => (audio.paused ? start() : audio.pause()));
    place.addEventListener("input", () => {
      const wanted = Number(place.value);
      start();
      audio.currentTime = wanted;
    });
    for (const event of ["play", "pause", "ended", "seeked"]) audio.addEventListener(event, show);
    show();
    return box;
  }

  function chances(clip) {
    const list = make("ul", "chances");
    const shown = clip.top.slice();
    clip.true.forEach((k, i) => {
      if (!shown.some(([each]) => each === k)) shown.push([k, clip.p_true[i]]);
    });
    for (const [k, p] of shown) {
      const row = make("li", clip.true.includes(k) ? "true" : "");
      row.append(make("span", "name", classes[k]));
      const track = make("span", "bar");
      const fill = make("span");
      fill.style.width = 100 * p + "%";
      track.append(fill);
      row.append(track, make("span", "num", percent(p)));
      list.append(row);
    }
    return list;
  }

  function card(clip) {
    const item = make("li", "clip card");
    const right = names(clip.true) === names(clip.said);
    item.append(player(clip));
    const verdict = make("p", "says");
    verdict.append(make("b", right ? "right" : "wrong", names(clip.said)));
    verdict.append(right ? " is right" : " instead of ", right ? "" : make("b", "", names(clip.true)));
    item.append(verdict, chances(clip));
    if (clip.members) {
      const said = make("p", "members");
      for (const [name, k, p] of clip.members) {
        const opinion = make("span", clip.true.includes(k) ? "true" : "");
        opinion.append(make("i", "", name + ": "), classes[k] + " " + percent(p));
        said.append(opinion);
      }
      item.append(said);
    }
    for (const remark of clip.remarks || []) item.append(make("p", "remark", remark));
    const about = make("p", "about");
    about.append(make("span", "file", isolated(clip.id)));
    const facts = [];
    if (clip.group) facts.push("group " + isolated(clip.group));
    if (clip.seconds !== undefined) facts.push(seconds(clip.seconds));
    if (clip.shown_s) facts.push("the first " + seconds(clip.shown_s) + " here");
    if (facts.length) about.append(" · " + facts.join(" · "));
    item.append(about);
    return item;
  }

  function fill(list, indices, more) {
    let n = 0;
    const step = (count) => {
      const first = list.children.length;
      for (const i of indices.slice(n, n + count)) list.append(card(data.clips[i]));
      n += count;
      more.hidden = n >= indices.length;
      more.textContent = "Show more (" + (indices.length - n) + " left)";
      return list.children[first];
    };
    more.onclick = () => {
      const next = step(PER_STEP);
      const target = next && next.querySelector("button, input");
      if (target) target.focus();
    };
    step(FIRST);
  }

  const errors = document.getElementById("errors");
  if (errors) fill(errors, data.errors, document.getElementById("more-errors"));

  const dialog = document.getElementById("cell");
  const stop = () => playing && playing.pause();
  function open(opener) {
    const found = data.cells[opener.dataset.cell] || [];
    const [i, j] = opener.dataset.cell.split(",").map(Number);
    const right = i === j, n = Number(opener.dataset.n);
    dialog.querySelector("h2").textContent = right
      ? "“" + classes[i] + "”, found"
      : "“" + classes[i] + "” taken for “" + classes[j] + "”";
    const order = !right ? "the surest mistake first"
      : found.length < n ? "the least sure, and the surest last" : "the surest first";
    dialog.querySelector(".lead").textContent =
      n + (n === 1 ? " clip" : " clips") +
      (found.length < n ? ", " + found.length + " shown here" : "") + (found.length > 1 ? "; " + order : "") + ".";
    const list = dialog.querySelector("ul");
    list.replaceChildren();
    fill(list, found, dialog.querySelector(".more"));
    dialog.onclose = () => {
      stop();
      list.replaceChildren();
      opener.focus();
    };
    stop();
    dialog.showModal();
    dialog.scrollTop = 0;
  }
  for (const opener of document.querySelectorAll("[data-cell]")) {
    opener.addEventListener("click", (event) => {
      event.preventDefault();
      open(opener);
    });
  }
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  // One stop for the Tab key in the whole matrix; arrows move between its cells.
  const matrix = document.querySelector("table.matrix");
  if (matrix && matrix.tBodies[0]) {
    const rows = [...matrix.tBodies[0].rows];
    const at = (row, column) => rows[row] && rows[row].cells[column] && rows[row].cells[column].querySelector("button");
    const buttons = [...matrix.querySelectorAll("button")];
    buttons.forEach((each, i) => (each.tabIndex = i ? -1 : 0));
    matrix.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const cell = event.target.closest("td");
      if (!move || !cell) return;
      event.preventDefault();
      let row = rows.indexOf(cell.parentElement), column = cell.cellIndex, next = null;
      while (!next && rows[row + move[0]] && rows[row].cells[column + move[1]]) {
        row += move[0];
        column += move[1];
        next = at(row, column);
      }
      if (!next) return;
      buttons.forEach((each) => (each.tabIndex = each === next ? 0 : -1));
      next.focus();
    });
  }
})();
