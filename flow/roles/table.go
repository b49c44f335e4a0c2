package roles

import "github.com/spatial-flow/spatial-flow/flow"

// Names of the KV buckets, and of the only keys of two of them.
const (
	deployment    = "deployment"
	deploymentKey = "deployment"
	positions     = "spatialflow"
	owners        = "owners"
	attempts      = "attempts"
	configured    = "sources"
	configuredKey = "sources"
)

// provisioner may do everything at JetStream, and writes all buckets: it makes what the others need, and `runs forget` takes away.
func (g *grants) provisioner() {
	g.service(string(Provisioner))
	g.publish("$JS.API.>")
	g.publishPlain("$KV."+deployment+".>", "$KV."+positions+".>", "$KV."+owners+".provision")
	g.subscribePlain("alive.>")
}

func (g *grants) producer() {
	g.service(string(Producer))
	g.watch(deployment, deploymentKey)
	g.watch(configured, configuredKey)
	g.write(configured, configuredKey)
	g.write(positions, "position.>", "ended.>", "film.>")
	g.watch(positions, "position.*.*")
	g.write(owners, "source.>", "ingest")
	for _, mode := range flow.Modes {
		g.publishPlain("frames." + string(mode) + ".>")
	}
	g.lookUp(scenes(flow.ModeLossless))
	g.lookUp(frames(flow.ModeLossless))
	for _, group := range g.table.Groups { // where a frame that is waited for is
		g.api("CONSUMER.INFO", frames(flow.ModeLossless), group)
		g.lookUp(results(group, flow.ModeLossless))
	}
	g.subscribePlain("alive.>", "done.>", "ingest.>", "source.manage")
	g.Answers = true // to ingest and source.manage
}

// worker takes the frames of its own group, and answers in its name.
func (g *grants) worker(group string) {
	g.service(group)
	for _, mode := range flow.Modes {
		g.take(frames(mode), group)
		g.publishPlain("results." + group + "." + string(mode) + ".>")
	}
	g.publishPlain("done." + group + ".>")
	g.write(attempts, "attempt."+group+".>")
	g.subscribePlain("alive." + group + ".>") // whether there is another that can do what this one can't
}

func (g *grants) fuser() {
	g.service(string(Fuser))
	g.watch(deployment, deploymentKey)
	g.write(positions, "position.>")
	g.write(owners, "partition.>")
	for _, mode := range flow.Modes {
		for _, group := range g.table.Groups {
			g.take(results(group, mode), "*") // FUSE_<partition>: the leases say whose each is
		}
		g.publishPlain("scenes." + string(mode) + ".>")
		g.lookUp(scenes(mode))
	}
	g.lookUp(frames(flow.ModeLossless)) // whether an earlier frame of a session is still to come
	for _, group := range g.table.Groups {
		g.lookUp(results(group, flow.ModeLossless))
	}
	g.publishPlain("done.fuser.>")
	g.subscribePlain("alive.fuser.>")
}

// gateway reads scenes and pictures, and publishes those that are posted to it.
func (g *grants) gateway() {
	g.service(string(Gateway))
	g.watch(deployment, deploymentKey)
	g.watch(configured, configuredKey)
	g.watch(positions, "position.*.*", "ended.*.*")
	for _, mode := range flow.Modes {
		g.lookUp(scenes(mode))
		g.api("STREAM.INFO", frames(mode)) // what NATS holds, for the status page
		for _, group := range g.table.Groups {
			g.api("STREAM.INFO", results(group, mode))
		}
	}
	for _, bucket := range []string{deployment, positions, owners, attempts, configured} {
		g.api("STREAM.INFO", "KV_"+bucket)
	}
	g.lookUp(frames(flow.ModeLossless)) // pictures of frames whose scene is to come
	g.publishPlain(flow.PredictSubjects()...)
	g.publishPlain("source.manage")
	g.subscribePlain("accepted.>", "scenes.>", "done.>", "alive.>")
}

// monitor sees how much there is of everything, and what happens to streams and consumers.
func (g *grants) monitor() {
	g.publish("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.*",
		"$JS.API.CONSUMER.NAMES.*", "$JS.API.CONSUMER.LIST.*", "$JS.API.CONSUMER.INFO.*.*",
		"$SYS.REQ.USER.INFO") // who it is itself
	g.subscribe("$JS.EVENT.ADVISORY.>", "$JS.EVENT.METRIC.>", "_INBOX.>") // the last is what the program nats asks by
}
