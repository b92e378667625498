// Airflow shows these pages in a frame, and lets the person choose a theme, which need not be that of
// their system: the window's choice is followed, also when it changes.
const airflow = window.parent === window ? null : window.parent.document.documentElement;
const followTheme = () => { document.documentElement.style.colorScheme = airflow.style.colorScheme; };
if (airflow) {
  followTheme();
  new MutationObserver(followTheme).observe(airflow, { attributeFilter: ["style", "class"] });
}

// A link to Airflow's own pages must move the whole window, which the frame's sandbox forbids: the
// window's own router is told instead.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-airflow]");
  if (!link || !airflow || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  window.parent.history.pushState({}, "", link.href);
  window.parent.dispatchEvent(new PopStateEvent("popstate"));
});

// A rollback is a run of the model's own DAG, started through Airflow's API with the user's cookie:
// its permissions and its audit log apply. The epoch that was shown goes with it, so that who clicks
// a moment after somebody else changes nothing.
document.addEventListener("submit", (event) => {
  if (event.target.matches("form[data-rollback]")) event.preventDefault();
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("form[data-rollback] button[data-version]");
  if (!button) return;
  const form = button.form;
  const reason = form.elements.reason.value.trim();
  const fault = faultOf(form, reason);
  form.querySelector("[data-said]").textContent = fault;
  if (fault) form.elements.reason.focus();
  else if (await isConfirmed(form, button.dataset.version, reason)) await rollBack(form, button, reason);
});

function faultOf(form, reason) {
  if (reason.length < 10) return "Say why in 10 characters or more.";
  if (new RegExp(`^(?:${form.dataset.reasons})$`).test(reason)) return "";
  return "Only A to Z, digits, blanks and . , : ; ( ) + # @ / = % _ < > - may stand in a reason.";
}

// The frame's sandbox has no window.confirm: the page brings a dialog of its own.
function isConfirmed(form, version, reason) {
  const dialog = form.querySelector("dialog");
  dialog.querySelector("[data-to]").textContent = version;
  dialog.querySelector("[data-why]").textContent = reason;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("dialog button[data-answer]");
  if (button) button.closest("dialog").close(button.dataset.answer);
});

async function rollBack(form, button, reason) {
  const said = form.querySelector("[data-said]");
  const buttons = form.querySelectorAll("button[data-version]");
  buttons.forEach((one) => { one.disabled = true; });
  const conf = { version: Number(button.dataset.version), epoch: Number(form.dataset.epoch), reason };
  try {
    const run = await ask(form.dataset.rollback, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ logical_date: null, conf }),
    });
    await follow(form, run, said);
  } catch (error) {
    said.textContent = `Not started: ${error.message}`;
    buttons.forEach((one) => { one.disabled = false; });
  }
}

async function ask(address, options = {}) {
  const answer = await fetch(address, { credentials: "same-origin", ...options });
  const told = await answer.json();
  if (answer.ok) return told;
  throw new Error(typeof told.detail === "string" ? told.detail : `status ${answer.status}`);
}

// Shows the run until it has ended, and then the page as it is now.
async function follow(form, started, said) {
  const id = started.dag_run_id;
  const link = document.createElement("a");
  link.href = form.dataset.runs + encodeURIComponent(id);
  link.dataset.airflow = "";
  link.textContent = id;
  let run = started;
  for (let second = 0; second < 600 && !["success", "failed"].includes(run.state); second += 1) {
    said.replaceChildren("Started: run ", link, ` is ${run.state}.`);
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    // Airflow may be away for a moment; the run goes on.
    run = await ask(`${form.dataset.rollback}/${encodeURIComponent(id)}`).catch(() => run);
  }
  if (run.state === "success") window.location.reload();
  else said.replaceChildren("Run ", link, ` is ${run.state}: its log says why.`);
}
