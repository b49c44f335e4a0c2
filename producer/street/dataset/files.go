package dataset

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image/jpeg"
	"os"
	"path/filepath"

	"github.com/spatial-flow/spatial-flow/producer/street"
)

// files writes the files of frames, using its buffers again.
type files struct {
	out    string
	buffer bytes.Buffer
	rows   []byte
	zipper *zlib.Writer
}

func newFiles(out string) *files {
	zipper, err := zlib.NewWriterLevel(nil, zlib.BestSpeed)
	if err != nil {
		panic(err) // the level is one of the package's own
	}
	return &files{out: out, zipper: zipper}
}

// write writes picture, labels and depth of a frame.
func (f *files) write(name string, frame *street.Frame) error {
	f.buffer.Reset()
	if err := jpeg.Encode(&f.buffer, frame.Image, &jpeg.Options{Quality: quality}); err != nil {
		return fmt.Errorf("encode picture %s: %w", name, err)
	}
	if err := f.save("images", name+".jpg"); err != nil {
		return err
	}
	f.buffer.Reset()
	f.labels(frame)
	if err := f.save("labels", name+".txt"); err != nil {
		return err
	}
	f.buffer.Reset()
	if err := f.depth(frame); err != nil {
		return fmt.Errorf("encode depth %s: %w", name, err)
	}
	return f.save("depth", name+".png")
}

func (f *files) save(folder, name string) error {
	return os.WriteFile(filepath.Join(f.out, folder, name), f.buffer.Bytes(), 0o644)
}

// labels writes what counts, as YOLO has it.
func (f *files) labels(frame *street.Frame) {
	width, height := float32(frame.Image.Rect.Dx()), float32(frame.Image.Rect.Dy())
	for i := range frame.Objects {
		o := &frame.Objects[i]
		if !o.Countable() {
			continue
		}
		b := o.Box
		fmt.Fprintf(&f.buffer, "%d %.6f %.6f %.6f %.6f\n", o.Class,
			(b[0]+b[2])/2/width, (b[1]+b[3])/2/height, (b[2]-b[0])/width, (b[3]-b[1])/height)
	}
}

// depth writes a 16-bit grey PNG. Its rows are filtered by what is above (filter 2), which suits depth; the encoder
// of the standard library tries all filters, and takes five times as long.
func (f *files) depth(frame *street.Frame) error {
	width, height := frame.Image.Rect.Dx(), frame.Image.Rect.Dy()
	stride := 2*width + 1
	if len(f.rows) != stride*height {
		f.rows = make([]byte, stride*height)
	}
	for y := range height {
		row := f.rows[y*stride : (y+1)*stride]
		row[0] = 2 // up
		for x, z := range frame.Depth[y*width : (y+1)*width] {
			binary.BigEndian.PutUint16(row[1+2*x:], DepthValue(z))
		}
	}
	for y := height - 1; y > 0; y-- {
		row, above := f.rows[y*stride+1:(y+1)*stride], f.rows[(y-1)*stride+1:y*stride]
		for i := range row {
			row[i] -= above[i]
		}
	}
	f.buffer.WriteString("\x89PNG\r\n\x1a\n")
	head := binary.BigEndian.AppendUint32(nil, uint32(width))
	head = binary.BigEndian.AppendUint32(head, uint32(height))
	f.chunk("IHDR", append(head, 16, 0, 0, 0, 0)) // 16 bits of grey, not interlaced
	var data bytes.Buffer
	f.zipper.Reset(&data)
	if _, err := f.zipper.Write(f.rows); err != nil {
		return err
	}
	if err := f.zipper.Close(); err != nil {
		return err
	}
	f.chunk("IDAT", data.Bytes())
	f.chunk("IEND", nil)
	return nil
}

// chunk writes one chunk of a PNG.
func (f *files) chunk(kind string, data []byte) {
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], uint32(len(data)))
	f.buffer.Write(number[:])
	start := f.buffer.Len()
	f.buffer.WriteString(kind)
	f.buffer.Write(data)
	binary.BigEndian.PutUint32(number[:], crc32.ChecksumIEEE(f.buffer.Bytes()[start:]))
	f.buffer.Write(number[:])
}

// DepthValue is what a distance, in metres, is in a depth picture.
func DepthValue(metres float32) uint16 {
	if !(metres < (1<<16-.5)/DepthScale) {
		return 0
	}
	return uint16(metres*DepthScale + .5)
}
