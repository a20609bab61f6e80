// Plots are drawn by the browser, so the browser hands their pictures over; the rest is made on the server.
async function handOver(ids, values) {
  const plots = {}
  for (const id of ids) {
    const plot = document.querySelector(`#${id} .js-plotly-plot`)
    const { width, height } = plot?.getBoundingClientRect() ?? {}
    if (!width || !window.Plotly) continue
    const svg = await window.Plotly.toImage(plot, { format: "svg", width, height })
    const png = await window.Plotly.toImage(plot, { format: "png", width, height, scale: 2 })
    plots[id] = { svg: decodeURIComponent(svg.slice(svg.indexOf(",") + 1)), png: png.split(",")[1] }
  }
  return [JSON.stringify(plots), ...values.slice(1)]
}
function keep(file) {
  if (!file?.data) return
  const bytes = Uint8Array.from(atob(file.data), c => c.charCodeAt(0))
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/zip" }))
  const link = Object.assign(document.createElement("a"), { href: url, download: file.name })
  document.body.append(link)
  link.click()
  link.remove()
  setTimeout(() => URL.revokeObjectURL(url), 60000)
}
