// Airflow shows these pages in a frame. A link to Airflow's own pages must move the whole window,
// which the frame's sandbox forbids: the window's own router is told instead.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-airflow]");
  if (!link || window.parent === window || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  window.parent.history.pushState({}, "", link.href);
  window.parent.dispatchEvent(new PopStateEvent("popstate"));
});

// A rollback is a run of the model's own DAG, started through Airflow's API with the user's cookie:
// its permissions and its audit log apply. The epoch that was shown goes with it, so that who clicks
// a moment after somebody else changes nothing.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("form[data-rollback] button[data-version]");
  if (!button) return;
  const form = button.form;
  const said = form.querySelector("[data-said]");
  const reason = form.elements.reason.value.trim();
  if (reason.length < 10) {
    said.textContent = "Say why in 10 characters or more.";
    form.elements.reason.focus();
    return;
  }
  const buttons = form.querySelectorAll("button");
  buttons.forEach((one) => { one.disabled = true; });
  const conf = { version: Number(button.dataset.version), epoch: Number(form.dataset.epoch), reason };
  try {
    const answer = await fetch(form.dataset.rollback, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ logical_date: null, conf }),
    });
    const told = await answer.json();
    if (!answer.ok) throw new Error(typeof told.detail === "string" ? told.detail : `status ${answer.status}`);
    said.textContent = `Started: run ${told.dag_run_id}. Reload this page in a few seconds.`;
  } catch (error) {
    said.textContent = `Not started: ${error.message}`;
    buttons.forEach((one) => { one.disabled = false; });
  }
});
document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-rollback]")) event.preventDefault();
});
