package api

import "time"

// SourceSettings are those of a source that is configured at run time. What is zero is as the producer's flags say.
type SourceSettings struct {
	FPS     float64 `json:"fps,omitempty"`      // pictures a second at most, 0 to 1000
	MaxSide int     `json:"max_side,omitempty"` // pixels, from 32; larger pictures are made smaller
	Quality int     `json:"quality,omitempty"`  // 1 to 100, of JPEGs that are encoded
	Decode  string  `json:"decode,omitempty"`   // auto, all or keys
	Verify  *bool   `json:"verify,omitempty"`   // false: any TLS certificate will do
}

// StateWaiting is that of a configured source that no producer has.
const StateWaiting State = "waiting"

// ConfiguredSource is a source that is configured at run time, and how it does.
type ConfiguredSource struct {
	Source     string         `json:"source"`
	URI        string         `json:"uri"`                  // without its query
	Credential string         `json:"credential,omitempty"` // name of the one that it is asked with
	Settings   SourceSettings `json:"settings"`
	Changed    time.Time      `json:"changed"`  // when it was made, or changed last
	State      State          `json:"state"`    // of its producer, or waiting: none has it
	Reason     string         `json:"reason"`   // why it failed, or what it waits for; empty: nothing
	Producer   string         `json:"producer"` // instance that has it; empty: none
}

// Configuration is what is configured at run time.
type Configuration struct {
	Managed    bool               `json:"managed"`    // whether sources can be configured at this gateway
	Allowed    []string           `json:"allowed"`    // patterns of the producers that are alive
	Configured []ConfiguredSource `json:"configured"` // by their names
}

// Sources is the answer of GET /api/v1/sources.
type Sources struct {
	Status
	Configuration
}

// OneSource is the answer of GET /api/v1/sources/{source}.
type OneSource struct {
	Source     string            `json:"source"`
	Status     *Source           `json:"status"`     // null: it is not known yet
	Configured *ConfiguredSource `json:"configured"` // null: it is not configured at run time
}
