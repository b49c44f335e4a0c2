package source

import (
	"errors"
	"fmt"
	"sync"

	"gocv.io/x/gocv"
)

// mostSpare bounds the Mats that a source keeps for its next pictures.
const mostSpare = 3

// Pictures are converted beside others: threads within one would only be in the way. OpenCV crashes when this is said while others
// work, so it is said before anything is.
func init() { gocv.SetNumThreads(1) }

// mats are Mats of one source's pictures, used again and again. They may be given back after the source is closed, by
// whatever goroutine.
type mats struct {
	mu     sync.Mutex
	spare  []gocv.Mat
	closed bool
}

func (m *mats) get() gocv.Mat {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.spare); n > 0 {
		mat := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return mat
	}
	return gocv.NewMat()
}

// getSized is a Mat of this shape, whose pixels are whatever they are.
func (m *mats) getSized(rows, cols int, kind gocv.MatType) gocv.Mat {
	mat := m.get()
	if mat.Rows() == rows && mat.Cols() == cols && mat.Type() == kind {
		return mat
	}
	_ = mat.Close() // always nil
	return gocv.NewMatWithSize(rows, cols, kind)
}

func (m *mats) put(mat gocv.Mat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.spare) == mostSpare {
		_ = mat.Close() // always nil
		return
	}
	m.spare = append(m.spare, mat)
}

func (m *mats) close() (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, mat := range m.spare {
		err = errors.Join(err, mat.Close())
	}
	m.spare = nil
	return err
}

// decoded are the pixels of a Mat that goes back to mats: 8-bit BGR, or, with others to make that in, I420 in BT.601 of limited range.
type decoded struct {
	mat      gocv.Mat
	mats     *mats
	settings Settings
	bgr      *mats
}

func (d decoded) Encode() (data []byte, width, height int, err error) {
	mat := d.mat
	if d.bgr != nil {
		mat = d.bgr.get()
		defer func() { d.bgr.put(mat) }()
		if err := gocv.CvtColor(d.mat, &mat, gocv.ColorYUVToBGRIYUV); err != nil {
			return nil, 0, 0, fmt.Errorf("%w: %w", errBroken, err)
		}
	}
	width, height = d.settings.fit(mat.Cols(), mat.Rows())
	data, err = encode(mat, d.settings)
	return data, width, height, err
}

func (d decoded) Release() { d.mats.put(d.mat) }
