package predict

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	maxBody      = 16 << 20  // of a picture that is posted
	bodyMemory   = 256 << 20 // of all that are in hand
	bodyBegins   = 64 << 10  // what a body is given at first; it is given twice as much again and again
	formOverhead = 64 << 10  // what a form may take beside its picture
	fieldName    = "file"

	// A caller sends its picture at leastRate, in bytes a second, after a grace; while it waits for memory, its clock stands.
	leastRate = 64 << 10
	sendGrace = 5 * time.Second

	maxForgotten = 128 << 20 // of a body that is too large, read to be able to say so
)

// body is a request's, read within bounds. Memory is taken for what has arrived, never for what is announced.
type body struct {
	request *http.Request
	from    io.Reader
	// until sets when the next byte must have come; the zero time: whenever.
	until  func(time.Time) error
	memory *semaphore.Weighted

	began time.Time
	read  int64
	held  int64
}

func newBody(w http.ResponseWriter, r *http.Request, memory *semaphore.Weighted) *body {
	return &body{request: r, from: r.Body, until: http.NewResponseController(w).SetReadDeadline, memory: memory, began: time.Now()}
}

// Read reads on while the caller is not too slow.
func (b *body) Read(p []byte) (int, error) {
	_ = b.until(b.began.Add(sendGrace + time.Duration(b.read)*time.Second/leastRate)) // fails where there is no connection
	n, err := b.from.Read(p)
	b.read += int64(n)
	return n, err
}

// all reads r, which reads from b, to its end. Its memory is b's until release.
func (b *body) all(r io.Reader) ([]byte, error) {
	data := []byte(nil)
	for {
		if len(data) == cap(data) {
			if cap(data) > maxBody {
				return nil, b.refusal(&http.MaxBytesError{Limit: maxBody})
			}
			larger := max(bodyBegins, min(2*cap(data), maxBody+1))
			if err := b.acquire(int64(larger)); err != nil {
				return nil, err
			}
			data = append(make([]byte, 0, larger), data...)
			b.memory.Release(b.held - int64(larger))
			b.held = int64(larger)
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case len(data) > maxBody:
			return nil, b.refusal(&http.MaxBytesError{Limit: maxBody})
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, b.refusal(err)
		}
	}
}

// acquire takes memory beside what is held.
func (b *body) acquire(size int64) error {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(b.request.Context(), turnWithin)
	defer cancel()
	if b.memory.Acquire(ctx, size) != nil {
		return refused(http.StatusServiceUnavailable, reasonFull, "no memory for another picture within %v", turnWithin)
	}
	b.held += size
	b.began = b.began.Add(time.Since(asked))
	return nil
}

// release gives the memory back, and the connection its time.
func (b *body) release() {
	b.memory.Release(b.held)
	b.held = 0
	_ = b.until(time.Time{})
}

// refusal says why a body can't be read. What is too large is read on for a while and forgotten: a caller whose connection is
// closed while it still sends never sees the answer.
func (b *body) refusal(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		_, _ = io.CopyN(io.Discard, b, maxForgotten)
		return refused(http.StatusRequestEntityTooLarge, reasonTooLarge, "the picture takes more than %d MiB", maxBody>>20)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refused(http.StatusRequestTimeout, reasonTooSlow, "%d bytes came, less than %d a second", b.read, leastRate)
	}
	return refused(http.StatusBadRequest, reasonMalformed, "read the body: %v", err)
}

// Reader finds the picture in a request's body.
type Reader func(b *body) ([]byte, error)

// Form reads the field "file" of a form.
func Form(b *body) ([]byte, error) {
	request := b.request
	request.Body = http.MaxBytesReader(nil, io.NopCloser(b), maxBody+formOverhead)
	form, err := request.MultipartReader()
	if err != nil {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "want multipart/form-data with the picture in the field %q (curl -F file=@picture.jpg): %v", fieldName, err)
	}
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil, refused(http.StatusBadRequest, reasonMalformed, "no field %q with the picture", fieldName)
		case err != nil:
			return nil, b.refusal(err)
		case part.FormName() != fieldName:
			continue
		}
		data, err := b.all(part)
		if err == nil && len(data) == 0 {
			return nil, refused(http.StatusBadRequest, reasonMalformed, "the field %q is empty", fieldName)
		}
		return data, err
	}
}

// Raw reads a body that is the picture.
func Raw(b *body) ([]byte, error) {
	data, err := b.all(b)
	if err == nil && len(data) == 0 {
		return nil, refused(http.StatusBadRequest, reasonMalformed, "the body is empty, want a picture (curl --data-binary @picture.jpg -H 'Content-Type: image/jpeg')")
	}
	return data, err
}
