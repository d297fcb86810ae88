// Show the clusters in which all words occur, and of these the questions that are similar enough.
(() => {
  const text = document.getElementById("text");
  const least = document.getElementById("least");
  const count = document.getElementById("count");
  const sections = [...document.querySelectorAll("section")];
  const content = sections.map((section) => section.textContent.toLowerCase());
  const rows = sections.map((section) => [...section.querySelectorAll("li")]);
  let timer;

  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const from = Number(least.value) || 0;
    let shown = 0;
    sections.forEach((section, i) => {
      let similar = 0;
      for (const [place, row] of rows[i].entries()) {
        const enough = Number(row.dataset.s) >= from;
        row.hidden = place > 0 && !enough; // the first represents the cluster
        similar += enough;
      }
      const fits = similar > 0 && words.every((word) => content[i].includes(word));
      section.hidden = !fits;
      shown += fits;
    });
    count.textContent = `${shown} of ${sections.length} clusters`;
  }

  for (const input of [text, least]) {
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 150); });
  }
  filter();
})();
