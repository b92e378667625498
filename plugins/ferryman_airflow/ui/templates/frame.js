// Airflow shows these pages in a frame. A link to Airflow's own pages must move the whole window,
// which the frame's sandbox forbids: the window's own router is told instead.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-airflow]");
  if (!link || window.parent === window || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  window.parent.history.pushState({}, "", link.href);
  window.parent.dispatchEvent(new PopStateEvent("popstate"));
});
