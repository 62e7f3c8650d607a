package report

import (
	"html/template"
	"strings"
	"time"

	"github.com/go-analyze/charts"

	"github.com/pgbackfill/pgbackfill/internal/human"
)

// Charts are drawn twice, for light and for dark pages; the page shows one of them.
const (
	chartWidth  = 920
	chartHeight = 220
	chartFont   = 10
	xLabels     = 7
	yLabels     = 6
)

// chart is one picture of the page.
type chart struct {
	Title       string
	Light, Dark template.HTML
}

// line is one series of a chart.
type line struct {
	name   string
	values []float64
}

// charts are those that there is something for.
func (r Report) charts() ([]chart, error) {
	points := r.Series.Points
	if len(points) == 0 {
		return nil, nil
	}
	labels := make([]string, len(points))
	rate, median, longest, waited, lag := make([]float64, len(points)), make([]float64, len(points)), make([]float64, len(points)), make([]float64, len(points)), make([]float64, len(points))
	seen := false
	for i, p := range points {
		labels[i] = p.At.Sub(points[0].At).Round(time.Second).String()
		if r.Series.Step > 0 {
			rate[i], waited[i] = float64(p.Rows)/r.Series.Step, 100*p.Waited/r.Series.Step
		}
		median[i], longest[i] = 1000*p.Median, 1000*p.Longest
		if p.Lag != nil {
			lag[i], seen = *p.Lag, true
		}
	}
	kinds := []struct {
		title string
		draw  bool
		lines []line
	}{
		{"Rows a second", true, []line{{"rows a second", rate}}},
		{"Time of a chunk, ms", true, []line{{"median", median}, {"longest", longest}}},
		{"Waiting, % of the time", true, []line{{"waiting", waited}}},
		{"Lag of the worst replica, s", seen, []line{{"lag", lag}}},
	}
	var list []chart
	for _, k := range kinds {
		if !k.draw {
			continue
		}
		c := chart{Title: k.title}
		var err error
		if c.Light, err = drawn(labels, k.lines, charts.ThemeLight); err != nil {
			return nil, err
		}
		if c.Dark, err = drawn(labels, k.lines, charts.ThemeDark); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

func drawn(labels []string, lines []line, theme string) (template.HTML, error) {
	var names []string
	var values [][]float64
	for _, l := range lines {
		names, values = append(names, l.name), append(values, l.values)
	}
	o := charts.NewLineChartOptionWithData(values)
	o.Theme = charts.GetTheme(theme).WithBackgroundColor(charts.ColorTransparent)
	o.Padding = charts.NewBox(4, 8, 12, 4)
	o.XAxis.Labels, o.XAxis.LabelFontStyle.FontSize = labels, chartFont
	o.YAxis[0].Min, o.YAxis[0].LabelFontStyle.FontSize = charts.Ptr(0.0), chartFont
	o.XAxis.LabelCount, o.YAxis[0].LabelCount = xLabels, yLabels
	o.ValueFormatter = axis
	o.LineStrokeWidth = 1.5
	o.Symbol.Shape = charts.SymbolNone
	if len(lines) > 1 {
		o.Legend.SeriesNames, o.Legend.FontStyle.FontSize = names, chartFont
	} else {
		o.Legend.Show, o.FillArea, o.FillOpacity = charts.Ptr(false), charts.Ptr(true), 40
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: chartWidth, Height: chartHeight})
	if err := p.LineChart(o); err != nil {
		return "", err
	}
	svg, err := p.Bytes()
	// What the library draws is from numbers and times only: no text of the database's is in it.
	return template.HTML(strings.TrimSpace(string(svg))), err
}

// axis is a number at an axis.
func axis(v float64) string {
	if v >= 10 || v == 0 {
		return human.Short(int64(v))
	}
	return strings.TrimSuffix(strings.TrimRight(trimmed(v), "0"), ".")
}
