package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-analyze/charts"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Pictures are drawn twice, for light and for dark pages; the document shows one of them.
const (
	pictureWidth  = 920
	pictureHeight = 300
	pictureFont   = 10
)

// picture is a chart of the document: bars beside each other, or lines.
type picture struct {
	// name is that of its files, title what it shows.
	name, title string
	// labels are along the axis; each line has a value for each of them, NaN where there is none.
	labels []string
	lines  []line
	// bars are drawn instead of lines; logarithmic is an axis on which each step is ten times the one before.
	bars, logarithmic bool
	// value is how one is written at the axis.
	value func(float64) string
}

type line struct {
	name   string
	values []float64
}

// save draws a picture and returns what shows it in a document beside the folder.
func (p picture) save(dir string) (string, error) {
	for theme, suffix := range map[string]string{charts.ThemeLight: "light", charts.ThemeDark: "dark"} {
		svg, err := p.draw(theme, charts.ChartOutputSVG)
		if err != nil {
			return "", fmt.Errorf("the picture %s: %w", p.name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, p.name+"-"+suffix+".svg"), append(svg, '\n'), 0o644); err != nil {
			return "", err
		}
	}
	at := filepath.Base(dir) + "/" + p.name
	return fmt.Sprintf("<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"%[1]s-dark.svg\"><img alt=\"%[2]s\" src=\"%[1]s-light.svg\"></picture>\n", at, p.title), nil
}

func (p picture) draw(theme, format string) ([]byte, error) {
	painter := charts.NewPainter(charts.PainterOptions{OutputFormat: format, Width: pictureWidth, Height: pictureHeight})
	palette := charts.GetTheme(theme).WithBackgroundColor(charts.ColorTransparent)
	title := charts.TitleOption{Text: p.title, FontStyle: charts.FontStyle{FontSize: pictureFont + 2}}
	var names []string
	var values [][]float64
	for _, l := range p.lines {
		names, values = append(names, l.name), append(values, p.scaled(l.values))
	}
	legend := charts.LegendOption{SeriesNames: names, FontStyle: charts.FontStyle{FontSize: pictureFont}, Offset: charts.OffsetStr{Top: "24"}}
	padding, font := charts.NewBox(8, 8, 12, 8), charts.FontStyle{FontSize: pictureFont}
	if p.bars {
		o := charts.NewBarChartOptionWithData(values)
		o.Theme, o.Title, o.Legend, o.Padding, o.ValueFormatter = palette, title, legend, padding, p.axis
		o.CategoryAxis.Labels, o.CategoryAxis.LabelFontStyle, o.CategoryAxis.LabelCount = p.labels, font, len(p.labels)
		o.ValueAxis[0].Min, o.ValueAxis[0].LabelFontStyle = charts.Ptr(0.0), font
		if p.logarithmic {
			o.ValueAxis[0].Unit = 1
		}
		if err := painter.BarChart(o); err != nil {
			return nil, err
		}
		return painter.Bytes()
	}
	o := charts.NewLineChartOptionWithData(values)
	o.Theme, o.Title, o.Legend, o.Padding, o.ValueFormatter = palette, title, legend, padding, p.axis
	o.XAxis.Labels, o.XAxis.LabelFontStyle, o.XAxis.LabelCount = p.labels, font, len(p.labels)
	o.YAxis[0].LabelFontStyle = font
	if p.logarithmic {
		o.YAxis[0].Unit = 1
	} else {
		o.YAxis[0].Min = charts.Ptr(0.0)
	}
	if err := painter.LineChart(o); err != nil {
		return nil, err
	}
	return painter.Bytes()
}

// scaled is values as they are drawn.
func (p picture) scaled(values []float64) []float64 {
	list := slices.Clone(values)
	for i, v := range list {
		switch {
		case math.IsNaN(v):
			list[i] = charts.GetNullValue()
		case p.logarithmic:
			list[i] = math.Log10(v)
		}
	}
	return list
}

// axis is a number at an axis.
func (p picture) axis(v float64) string {
	if p.logarithmic {
		v = math.Pow(10, v)
	}
	if p.value != nil {
		return p.value(v)
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}

// picturesOf are those of a part, of what was measured of it.
func picturesOf(name string, list []*result) []picture {
	switch name {
	case "compare":
		return comparison(list)
	case "growth", "workers", "latency", "chunk":
		return []picture{turned(list[0])}
	case "foreground":
		return []picture{noticed(list[0].Foreground)}
	}
	return nil
}

// comparison has a bar for each way on each table: how fast, and how much it writes.
func comparison(list []*result) []picture {
	pictures := []picture{
		{name: "speed", title: "Speed, one UPDATE is 1: more is better"},
		{name: "wal", title: "Write-ahead log, one UPDATE is 1: less is better"},
		{name: "growth-of-table", title: "Growth of the table and its indexes, one UPDATE is 1: less is better"},
	}
	of := []func(w, base way) float64{
		func(w, _ way) float64 { return w.Ratio },
		func(w, base way) float64 { return float64(w.WALBytes) / float64(base.WALBytes) },
		func(w, base way) float64 {
			return float64(w.HeapGrowthBytes+w.IndexGrowthBytes) / float64(base.HeapGrowthBytes+base.IndexGrowthBytes)
		},
	}
	for i := range pictures {
		p := &pictures[i]
		p.bars = true
		for _, r := range list {
			p.labels = append(p.labels, r.Table)
		}
		for _, name := range []string{engine2, single, script, plpgsql, floor} {
			l := line{name: name}
			for _, r := range list {
				base, compared := r.way(single)
				w, measured := r.way(name)
				v := math.NaN()
				if compared && measured {
					v = of[i](w, base)
				}
				l.values = append(l.values, v)
			}
			p.lines = append(p.lines, l)
		}
	}
	return pictures
}

// turned has a line for each series of settings, in seconds.
func turned(r *result) picture {
	p := picture{name: r.Part, title: map[string]string{
		"growth": "Seconds, by rows of the table", "workers": "Seconds, by workers", "latency": "Seconds, by milliseconds of a round trip", "chunk": "Seconds, by rows of a chunk",
	}[r.Part], logarithmic: r.Part == "growth"}
	var at []float64
	for _, w := range r.Ways {
		if w.Series != "" && !slices.Contains(at, w.X) {
			at = append(at, w.X)
		}
	}
	slices.Sort(at)
	for _, x := range at {
		p.labels = append(p.labels, human.Count(int64(x)))
	}
	for _, w := range r.Ways {
		if w.Series == "" {
			continue
		}
		i := slices.IndexFunc(p.lines, func(l line) bool { return l.name == w.Series })
		if i < 0 {
			i = len(p.lines)
			p.lines = append(p.lines, line{w.Series, slices.Repeat([]float64{math.NaN()}, len(at))})
		}
		p.lines[i].values[slices.Index(at, w.X)] = w.Seconds
	}
	return p
}

// noticed has the application's transactions beside each work.
func noticed(list []disturbance) picture {
	p := picture{name: "foreground", title: "Transactions of the application, each step is ten times the one before", bars: true, logarithmic: true, value: func(ms float64) string {
		if ms >= 1000 {
			return fmt.Sprintf("%.0f s", ms/1000)
		}
		return fmt.Sprintf("%.0f ms", ms)
	}}
	p.lines = []line{{name: "p50"}, {name: "p99"}, {name: "worst"}}
	for _, d := range list {
		p.labels = append(p.labels, d.Name)
		for i, v := range []float64{d.P50, d.P99, d.Worst} {
			p.lines[i].values = append(p.lines[i].values, max(1, v)) // the axis begins at a millisecond
		}
	}
	return p
}
