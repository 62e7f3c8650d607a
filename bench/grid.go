package main

import "strings"

// grid is rows of cells, the first row its head. The first column is text, the others are numbers.
type grid [][]string

func (g grid) widths() []int {
	widths := make([]int, len(g[0]))
	for _, row := range g {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	return widths
}

// aligned is the grid with its columns under one another.
func (g grid) aligned() string {
	widths := g.widths()
	var b strings.Builder
	for _, row := range g {
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			switch {
			case i == 0:
				b.WriteString(cell + space)
			default:
				b.WriteString("  " + space + cell)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// markdown is the grid as Markdown has it.
func (g grid) markdown() string {
	var b strings.Builder
	for i, row := range g {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("--:|", len(row)-1) + "\n")
		}
	}
	return b.String()
}
