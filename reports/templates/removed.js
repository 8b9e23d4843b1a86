"use strict";
(() => {
  const { removed } = report.data;
  const select = document.getElementById("member");
  if (!select) return;

  const element = (tag, className, text) => {
    const node = document.createElement(tag);
    node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const bar = (name, text, parts) => {
    const row = element("div", "bar");
    const track = element("div", "track");
    parts.forEach(([share, className]) => {
      const fill = element("i", className);
      fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
      track.append(fill);
    });
    row.append(element("span", "name", name), track, element("span", "number", text));
    return row;
  };
  const note = (text) => element("p", "note", text);

  const show = (member) => {
    const criteria = member.criteria.length ? `; ranked by ${member.criteria.join(", ")}` : "";
    document.getElementById("member-summary").textContent = member.summary + criteria;
    const kept = removed.groups.map((group, i) => bar(group.name, member.texts[i], [[member.shares[i], ""]]));
    document.getElementById("kept").replaceChildren(...(kept.length ? kept : [note("No group could be pruned.")]));
    document.getElementById("together").textContent = member.together;
    const longest = Math.max(...member.layers.map((l) => Math.max(l.before, l.after ?? 0)), 1e-12);
    const layers = member.layers.map((l) => bar(l.name, l.text, [[l.before / longest, "before"], [(l.after ?? 0) / longest, ""]]));
    document.getElementById("layers").replaceChildren(...(layers.length ? layers : [note("Not measured.")]));
  };
  report.showMember = (index) => {
    select.value = String(index);
    show(removed.members[index]);
  };
  select.addEventListener("change", () => show(removed.members[Number(select.value)]));
  show(removed.members[Number(select.value)]);
})();
