// Package scratch makes temporary folders that do not stay, however their program ends.
package scratch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	folderPrefix = "spatialflow-"
	lockName     = "lock" // in a temporary folder, locked while its program lives
)

// Folder makes a temporary folder that remove removes. Folders that programs left behind which were killed are removed too: nobody
// holds their locks any more.
func Folder() (dir string, remove func() error, err error) {
	sweep(os.TempDir())
	dir, err = os.MkdirTemp("", folderPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("create temporary data folder: %w", err)
	}
	lock, err := lockFolder(dir, os.O_CREATE)
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("lock temporary data folder: %w", err), os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), lock.Close()) }, nil
}

// lockFolder takes the lock of a folder, which ends with the program. An error is returned when another has it, or, without
// [os.O_CREATE], there is none.
func lockFolder(dir string, create int) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|create, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// sweep removes what killed programs of this user left in a folder. What it may not touch stays.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !entry.IsDir() || !strings.HasPrefix(entry.Name(), folderPrefix) {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Getuid() {
			continue
		}
		dir := filepath.Join(parent, entry.Name())
		lock, err := lockFolder(dir, 0)
		if err != nil {
			continue // it is in use, or none of ours
		}
		_ = os.RemoveAll(dir) // what stays is tried again
		_ = lock.Close()
	}
}
