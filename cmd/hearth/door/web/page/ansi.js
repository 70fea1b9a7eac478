// What a container writes, as a page can show it: colours stay, all else that a
// terminal would obey is left out.

const colours = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

// CSI, OSC and other string sequences, and two-character ones.
const sequence = /\x1b(?:\[([0-?]*)[ -/]*([@-~])|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;

function style(codes, now) {
  let { colour, bold } = now;
  const list = codes.split(";").map(Number);
  for (let i = 0; i < list.length; i++) {
    const n = list[i];
    if (n === 0) [colour, bold] = ["", false];
    else if (n === 1) bold = true;
    else if (n === 22) bold = false;
    else if (n >= 30 && n <= 37) colour = colours[n - 30];
    else if (n >= 90 && n <= 97) colour = colours[n - 90];
    else if (n === 39) colour = "";
    else if (n === 38 || n === 48) i += list[i + 1] === 5 ? 2 : 4;
  }
  return { colour, bold };
}

// spans splits a line into pieces [text, class]; it goes on in the style of the one
// before, which it returns for the next.
export function spans(line, now = { colour: "", bold: false }) {
  const out = [];
  const put = (text) => {
    text = text.replace(/\t/g, "    ").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, "").replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => `⟨${c.codePointAt(0).toString(16)}⟩`);
    if (text) out.push([text, [now.colour && "ansi-" + now.colour, now.bold && "bold"].filter(Boolean).join(" ")]);
  };
  let at = 0;
  for (const m of line.matchAll(sequence)) {
    put(line.slice(at, m.index));
    at = m.index + m[0].length;
    if (m[2] === "m") now = style(m[1], now);
  }
  put(line.slice(at));
  return [out, now];
}

// lastOf is what a terminal would show of a line that begins anew in its place.
export const lastOf = (line) => {
  const end = line.endsWith("\r") ? line.slice(0, -1) : line;
  return end.slice(end.lastIndexOf("\r") + 1);
};
