package api

import "time"

// What a caller may do.
const (
	MayView    = "view"    // see its sources: their scenes, pictures and state
	MayPredict = "predict" // ask about pictures of its own
	MayStatus  = "status"  // see how all services do
	MayManage  = "manage"  // configure its sources
)

// Caller is who the gateway takes a caller for: GET /api/v1/caller.
type Caller struct {
	Name    string     `json:"name"`              // of its token; anonymous: it has none
	May     []string   `json:"may"`               // MayView, MayPredict, MayStatus, MayManage
	Sources []string   `json:"sources"`           // patterns of those that it may see; * stands for any part of a name
	Expires *time.Time `json:"expires,omitempty"` // of its token; nil: never
	Tokens  bool       `json:"tokens,omitempty"`  // it has none, and one may let it do more
}

// ParseCaller reads an answer of GET /api/v1/caller. [ErrMessage] is returned when it is none.
func ParseCaller(data []byte) (*Caller, error) {
	caller := new(Caller)
	if err := unmarshal(data, caller); err != nil {
		return nil, err
	}
	return caller, nil
}
