package engine

import (
	"log/slog"
	"sync"
	"time"
)

// saidEvery is how often a line of ONNX Runtime's own log is passed on at most: a model that fails does so for every frame.
const saidEvery = time.Second

// said passes on what ONNX Runtime logs, errors and worse. There is one of them in a process, as there is one of its environment.
var said sayings

type sayings struct {
	mu      sync.Mutex
	log     *slog.Logger
	last    time.Time
	leftOut int
}

func (s *sayings) to(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if log != nil {
		s.log = log
	}
}

// levelFatal is ONNX Runtime's ORT_LOGGING_LEVEL_FATAL.
const levelFatal = 4

func (s *sayings) say(severity int, where, message string) {
	s.mu.Lock()
	now := time.Now()
	if !s.last.IsZero() && now.Sub(s.last) < saidEvery {
		s.leftOut++
		s.mu.Unlock()
		return
	}
	log, leftOut := s.log, s.leftOut
	s.last, s.leftOut = now, 0
	s.mu.Unlock()
	if log == nil {
		log = slog.Default()
	}
	say := log.Warn // who ran the model tells the error itself
	if severity >= levelFatal {
		say = log.Error
	}
	say("ONNX Runtime", "says", message, "at", where, "left_out", leftOut)
}
