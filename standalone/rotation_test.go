package standalone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every password is changed while a film and a camera run: the second user of each role gets a new one, the services' files are
// changed, and then the first users' are withdrawn. Nobody is started again, nobody is refused, and every frame has its scene.
func TestPasswordsAreChangedUnderLoad(t *testing.T) {
	t.Parallel()
	detect, depth := noCost(t)
	d := newClosed(t)
	own := filepath.Join(t.TempDir(), "users") // what the services see
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	give := func(variant string) {
		t.Helper()
		for _, role := range []string{"provisioner", "producer", "detect", "depth", "fuser", "gateway"} {
			data, err := os.ReadFile(filepath.Join(d.users, role+"-"+variant))
			if err != nil {
				t.Fatal(err)
			}
			next := filepath.Join(own, role+".next")
			if err := os.WriteFile(next, data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, filepath.Join(own, role)); err != nil {
				t.Fatal(err)
			}
		}
	}
	give("a")
	d.startNATS()
	eventually(t, "the server listens", d.listens)
	checking := d.connectAs("monitor-a", "monitor") // which may read nothing: it only holds its connection
	serve := func(role, name string, arguments ...string) *process {
		return d.service(name, append([]string{d.flag, filepath.Join(own, role)}, arguments...)...)
	}
	serve("provisioner", "provision", "--watch").says("provisioned:")
	services := []*process{
		serve("detect", "worker", "--group", "detect", "--model", detect),
		serve("depth", "worker", "--group", "depth", "--model", depth, "--depth-size", "56"),
		serve("fuser", "fuser"), serve("gateway", "gateway", "--http", "127.0.0.1:0"),
	}
	producer := serve("producer", "producer", "--run", "rotate", "--frames", "200", "--exit-when-done",
		"--source", "film=street:?seed=7&fps=20&size=320x180#mode=lossless", "--source", "camera=street:?seed=8&fps=10&size=320x180#mode=live")
	at := func(seq uint64) {
		t.Helper()
		b := d.connectAs("provisioner-b", "provisioner")
		position(t, b, "film", "rotate", seq)
		b.Close()
	}
	at(40)
	d.configure("--renew", "*-b")
	d.reload() // drops the second users alone, of whom there are none
	if checking.Reconnects() != 0 {
		t.Error("a user whose password is the same was dropped")
	}
	give("b")
	at(80)
	d.configure("--renew", "*-a")
	d.reload() // drops the first users
	at(120)
	for _, p := range append(services, producer) {
		p.says("nats connected again")
	}
	endsAlone(t, producer, services)
	scenes, _ := storedScenes(t, d.connectAs("provisioner-b", "provisioner"), 200)
	for _, s := range scenes {
		if len(s.Missing) > 0 || len(s.Errors) > 0 {
			t.Errorf("scene %s lacks %v: %v", s.Frame, s.Missing, s.Errors)
		}
	}
	refused := map[string]int{}
	for line := range strings.Lines(d.nats.output.String()) {
		if _, user, ok := strings.Cut(line, "authentication error - User "); ok {
			refused[strings.TrimSpace(user)]++
		}
	}
	for user, times := range refused { // once, when it is dropped: nobody comes with what does not hold any more
		if times > 1 || !strings.HasSuffix(user, `-a"`) {
			t.Errorf("the server refused %s %d times", user, times)
		}
	}
	if refused := d.violations(); len(refused) > 0 {
		t.Errorf("the server refused:\n%s", strings.Join(refused, "\n"))
	}
}

// endsAlone waits for the end of the producer, which has done all, and sees that no service has ended.
func endsAlone(t *testing.T, producer *process, services []*process) {
	t.Helper()
	select {
	case err := <-producer.ended:
		producer.ended <- nil
		if err != nil {
			t.Errorf("the producer ended with %v", err)
		}
	case <-t.Context().Done():
	}
	for _, p := range services {
		select {
		case err := <-p.ended:
			p.ended <- nil
			t.Errorf("%s ended: %v", p.name, err)
		default:
		}
	}
}
