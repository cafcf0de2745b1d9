"""Bars and lines as SVG, without a plotting library."""

import statistics

COLOURS = {"pgwarden": "#1b6ca8", "pgwarden-tx": "#6fb1e0", "pgbouncer": "#e08e2b", "pgbouncer-tx": "#e08e2b", "haproxy": "#8a8f98"}
WIDTH, PANEL, LEFT, BOTTOM, TOP = 1080, 300, 60, 46, 40


def panel(top, title, groups, systems):
    """One panel: `groups` is a list of (label, {system: (low, median, high)})."""
    highest = max(high for _, cells in groups for _, _, high in cells.values()) * 1.08
    plot_height = PANEL - TOP - BOTTOM
    group_width = (WIDTH - LEFT - 20) / len(groups)
    bar = group_width / (len(systems) + 1.2)

    def y(value):
        return top + TOP + plot_height * (1 - value / highest)

    out = [f'<text x="{LEFT}" y="{top + 22}" font-size="15" font-weight="600">{title}</text>']
    for step in range(5):
        value = highest * step / 4
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
                   'stroke="#e3e6ea"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" '
                   f'font-size="11">{value:.1f}</text>')
    for at, (label, cells) in enumerate(groups):
        left = LEFT + at * group_width
        for place, system in enumerate(systems):
            low, median, high = cells[system]
            x = left + bar * (place + 0.6)
            out.append(f'<rect x="{x:.1f}" y="{y(median):.1f}" width="{bar * 0.86:.1f}" '
                       f'height="{y(0) - y(median):.1f}" fill="{COLOURS[system]}"/>')
            middle = x + bar * 0.43
            out.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y(low):.1f}" '
                       f'y2="{y(high):.1f}" stroke="#22262b"/>')
        out.append(f'<text x="{left + group_width / 2:.1f}" y="{top + PANEL - 24}" '
                   f'text-anchor="middle" font-size="11">{label}</text>')
    return out


def bars(cells, protocols, clients, systems, ratios):
    def collect(values):
        return [(f"{protocol}, {count}",
                 {s: summary(values(protocol, count, s)) for s in systems})
                for protocol in protocols for count in clients]

    def summary(values):
        return min(values), statistics.median(values), max(values)

    cpu = collect(lambda p, c, s: [cell["cpu"] for cell in cells[p, c, s]])
    latency = collect(lambda p, c, s: ratios(cells, p, c, s, "latency"))
    height = 2 * PANEL + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="system-ui, sans-serif" fill="#22262b">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    out += panel(0, "The proxy's own CPU time per transaction, µs (protocol, clients)", cpu, systems)
    out += panel(PANEL, "Latency as a ratio to a direct connection", latency, systems)
    for at, system in enumerate(systems):
        x = LEFT + at * 130
        out.append(f'<rect x="{x}" y="{2 * PANEL + 6}" width="12" height="12" '
                   f'fill="{COLOURS[system]}"/>')
        out.append(f'<text x="{x + 18}" y="{2 * PANEL + 17}" font-size="12">{system}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def line_panel(left, top, title, systems):
    """Median CPU by a count, both axes from the data; counts stand at even distances."""
    counts = sorted({count for points in systems.values() for count in points})
    highest = max(max(values) for points in systems.values() for values in points.values()) * 1.08
    width, plot_height = WIDTH / 2 - LEFT - 30, PANEL - TOP - BOTTOM

    def x(count):
        return left + LEFT + width * counts.index(count) / max(len(counts) - 1, 1)

    def y(value):
        return top + TOP + plot_height * (1 - value / highest)

    out = [f'<text x="{left + LEFT}" y="{top + 22}" font-size="14" font-weight="600">{title}</text>']
    for step in range(5):
        value = highest * step / 4
        out.append(f'<line x1="{left + LEFT}" x2="{left + LEFT + width}" y1="{y(value):.1f}" '
                   f'y2="{y(value):.1f}" stroke="#e3e6ea"/>')
        out.append(f'<text x="{left + LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" '
                   f'font-size="11">{value:.0f}</text>')
    for count in counts:
        out.append(f'<text x="{x(count):.1f}" y="{top + PANEL - 24}" text-anchor="middle" '
                   f'font-size="11">{count:,}</text>')
    for system, points in systems.items():
        medians = [(x(count), y(statistics.median(points[count]))) for count in sorted(points)]
        path = " ".join(f"{at:.1f},{value:.1f}" for at, value in medians)
        colour = COLOURS[system]
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for count in points:
            low, high = min(points[count]), max(points[count])
            out.append(f'<line x1="{x(count):.1f}" x2="{x(count):.1f}" y1="{y(low):.1f}" '
                       f'y2="{y(high):.1f}" stroke="{colour}"/>')
    return out


def curves(found):
    """Four panels of the proxy's CPU time per transaction in µs."""
    height = 2 * PANEL + 30
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
           'font-family="system-ui, sans-serif" fill="#22262b">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    panels = [("tenants", "by tenants"), ("clients", "by clients"),
              ("bytes of the statement", "by length"), ("scoped tables", "by tables")]
    for number, (what, key) in enumerate(panels):
        out += line_panel(number % 2 * WIDTH / 2, number // 2 * PANEL,
                          f"CPU per transaction, µs, by {what}", found[key])
    for at, system in enumerate(["pgwarden-tx", "pgbouncer-tx", "haproxy"]):
        x = LEFT + at * 130
        out.append(f'<rect x="{x}" y="{2 * PANEL + 6}" width="12" height="12" '
                   f'fill="{COLOURS[system]}"/>')
        out.append(f'<text x="{x + 18}" y="{2 * PANEL + 16}" font-size="12">{system}</text>')
    return "\n".join([*out, "</svg>", ""])
