package eval

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable writes the report for people.
func (r Report) WriteTable(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%d frames, %d boxes\tbaseline\t\n", r.Frames, r.Truths)
	row := func(name string, pipeline, baseline float64, better string) {
		fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%s\n", name, pipeline, baseline, better)
	}
	row("mAP50", r.Pipeline.MAP50, r.Baseline.MAP50, "larger is better")
	row("mAP50-95", r.Pipeline.MAP5095, r.Baseline.MAP5095, "")
	row("depth δ1", r.Pipeline.Depth.Delta1, r.Baseline.Depth.Delta1, "")
	row("depth AbsRel", r.Pipeline.Depth.AbsRel, r.Baseline.Depth.AbsRel, "smaller is better")
	fmt.Fprintf(t, "object distance\t%.1f %%\t\tmedian error, %d boxes\n", 100*r.Distance, r.Matched)
	fmt.Fprintf(t, "nearness flicker\t%.2f\t\tpoints of 0 to 100\n", r.Flicker)
	fmt.Fprintf(t, "\nclass\tboxes\tAP50\tAP50-95\n")
	for _, c := range r.Classes {
		fmt.Fprintf(t, "%s\t%d\t%.3f\t%.3f\n", c.Label, c.Truths, c.AP50, c.AP5095)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
