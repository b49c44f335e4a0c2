package pipeline

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spatial-flow/spatial-flow/flow"
	"github.com/spatial-flow/spatial-flow/producer"
)

const progressEvery = 2 * time.Second

// follow shows progress until it is time to stop: ctx ended, --duration passed, a service failed, or, with
// --exit-when-done, every source is done.
func (p *pipeline) follow(ctx context.Context, progress io.Writer) error {
	var over <-chan time.Time
	if p.cfg.Duration > 0 {
		timer := time.NewTimer(p.cfg.Duration)
		defer timer.Stop()
		over = timer.C
	}
	said := newNotes(time.Now())
	heard, err := p.own.Subscribe(flow.AliveSubject("*", "*"), said.hear)
	if err != nil {
		return fmt.Errorf("listen to the services: %w", err)
	}
	defer func() { _ = heard.Unsubscribe() }() // the connection may be closed, and it with it
	done := p.board.AllDone()
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	last := map[string]uint64{}
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(progress, "stopping")
			return nil
		case <-p.running.Done():
			return nil // stop tells why
		case <-p.ended:
			return nil // it ends by itself only with an error, which stop tells
		case address := <-p.listening:
			fmt.Fprintf(progress, "watch at %s (REST: %s/api/v1/sources); stop with Ctrl-C\n", p.cfg.Gateway.URL(fromHere(address)), p.cfg.Gateway.BasePath)
			if told := p.cfg.Gateway.Listening; told != nil {
				told(address)
			}
		case <-over:
			fmt.Fprintf(progress, "%v are over, stopping\n", p.cfg.Duration)
			return nil
		case <-done:
			if len(p.cfg.Producer.Sources) == 0 {
				fmt.Fprintln(progress, "no source: pictures come by POST /predict or ingest.<source>")
				done = nil
				continue
			}
			p.show(progress, last)
			if p.cfg.Producer.ExitWhenDone {
				return nil
			}
			fmt.Fprintln(progress, "every source is done; its last scene can still be watched")
			done = nil
		case now := <-ticker.C:
			if done != nil {
				p.show(progress, last)
			}
			for _, line := range said.lines(p.groups, now) {
				fmt.Fprintln(progress, line)
			}
		}
	}
}

// show writes a line per source.
func (p *pipeline) show(progress io.Writer, last map[string]uint64) {
	for _, s := range p.board.Summaries() {
		fused := s.Resumed + s.Account.Complete + s.Account.Partial + s.Account.Error
		rate := float64(fused-last[s.Source]) / progressEvery.Seconds()
		if last[s.Source] == 0 || s.State != flow.StateRunning {
			rate = s.Rate
		}
		last[s.Source] = fused
		total := ""
		if s.Frames > 0 {
			total = fmt.Sprintf("/%d", s.Frames)
		}
		line := fmt.Sprintf("%s: %s, %d%s scenes, %.1f/s, p50 %v", s.Source, s.State, fused, total, rate, s.P50.Round(time.Millisecond))
		if s.Account.Error > 0 {
			line += fmt.Sprintf(", %d with an error", s.Account.Error)
		}
		if s.Corrupt > 0 {
			line += fmt.Sprintf(", %d corrupt packets", s.Corrupt)
		}
		if s.Reason != "" {
			line += ": " + s.Reason
		}
		fmt.Fprintln(progress, line)
	}
}

// writeSummary writes the account and the latency of every source.
func writeSummary(out io.Writer, summaries []producer.Summary) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "source\tstate\tcaptured\tskipped\tadmitted\tcomplete\tpartial\terror\tdropped\tin flight\tscenes/s\tp50\tp95\tp99")
	for _, s := range summaries {
		a := s.Account
		state := string(s.State)
		if s.Resumed > 0 {
			state = fmt.Sprintf("%s (went on after frame %d)", state, s.Resumed)
			if a.Captured == 0 && s.State == flow.StateComplete {
				state = fmt.Sprintf("complete already (%d frames)", s.Resumed)
			}
		}
		if s.Corrupt > 0 {
			state += fmt.Sprintf(" (%d corrupt packets passed over)", s.Corrupt)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%s\t%d\t%.1f\t%v\t%v\t%v\n", s.Source, state, a.Captured, reasons(a.Skipped),
			a.Admitted, a.Complete, a.Partial, a.Error, reasons(a.Dropped), a.InFlight, s.Rate, short(s.P50), short(s.P95), short(s.P99))
	}
	table.Flush()
	for _, s := range summaries {
		if s.Note != "" {
			fmt.Fprintf(out, "%s: %s\n", s.Source, s.Note)
		}
	}
}

func short(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// reasons is a count by reason: "0", or "3 (expired 3)".
func reasons(counts map[string]uint64) string {
	total, parts := uint64(0), []string{}
	for reason, n := range counts {
		total += n
		parts = append(parts, fmt.Sprintf("%s %d", reason, n))
	}
	if total == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}

// fromHere is how a page on this machine reaches an address: one that stands for all of them is reached by the loopback one.
func fromHere(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return address.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}
