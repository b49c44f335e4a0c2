package natsconfig

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/bcrypt"
)

const (
	usersFile   = "users.conf"
	secretBytes = 24
	// A password of 192 random bits is not found by guessing however fast that is, and every connection of every service costs the
	// server a hash: so the hash is a cheap one. One that a person chose has a dear one.
	cheapHash  = 5
	dearHash   = 11
	longEnough = 32 // letters of a password that is taken for random
)

// keep makes what is missing of the users' secrets in folder, one file each, and hashes, the file that holds their hashes (or, of
// nkeys, the public halves). A secret that is there stays, and its hash too, for the server drops whoever's has changed; unless one of the patterns
// in renew is of its name. made names those that are new.
func (c Config) keep(folder, hashes string, renew []string) (made []string, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the users: %w", err)
	}
	before, err := readHashes(hashes)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	text.WriteString("# Who may connect: hashes of passwords, or public keys. Made by spatialflow nats-config --users.\n")
	for _, role := range c.Roles {
		for _, u := range c.users(role) {
			if err := func() error {
				file := filepath.Join(folder, u.Name)
				data, err := os.ReadFile(file)
				if errors.Is(err, fs.ErrNotExist) || err == nil && matches(renew, u.Name) {
					if data, err = c.newSecret(u.Name); err != nil {
						return err
					}
					if err := replace(file, data); err != nil {
						return err
					}
					made = append(made, u.Name)
				} else if err != nil {
					return err
				}
				known, err := c.known(data, before[u.Variable])
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				fmt.Fprintf(&text, "%s: %q\n", u.Variable, known)
				return nil
			}(); err != nil {
				return made, fmt.Errorf("keep user %s: %w", u.Name, err)
			}
		}
	}
	if err := replace(hashes, []byte(text.String())); err != nil {
		return made, fmt.Errorf("write the users: %w", err)
	}
	return made, nil
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

// newSecret is what a service is given as --nats-password-file, or --nats-nkey-file.
func (c Config) newSecret(name string) ([]byte, error) {
	if c.Nkeys {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		seed, err := pair.Seed()
		return append(seed, '\n'), err
	}
	secret := make([]byte, secretBytes)
	rand.Read(secret) // never fails
	return []byte(name + "\n" + base64.RawURLEncoding.EncodeToString(secret) + "\n"), nil
}

// known is what the server knows of a secret; before is what it knew.
func (c Config) known(data []byte, before string) (string, error) {
	if c.Nkeys {
		pair, err := nkeys.ParseDecoratedUserNKey(data)
		if err != nil {
			return "", fmt.Errorf("%w: it is no seed of a user (SU…)", ErrUsage)
		}
		return pair.PublicKey()
	}
	_, password, two := bytes.Cut(bytes.TrimRight(data, "\r\n"), []byte("\n"))
	if !two || len(password) == 0 {
		return "", fmt.Errorf("%w: it has two lines, the user and the password", ErrUsage)
	}
	if bcrypt.CompareHashAndPassword([]byte(before), password) == nil {
		return before, nil
	}
	cost := dearHash
	if len(password) >= longEnough {
		cost = cheapHash
	}
	hash, err := bcrypt.GenerateFromPassword(password, cost)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return string(hash), nil
}

// readHashes reads users.conf; none is there yet.
func readHashes(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the users: %w", err)
	}
	hashes := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			hashes[name] = strings.Trim(value, `"`)
		}
	}
	return hashes, nil
}

// replace puts a file in the place of another at once, for its owner alone.
func replace(file string, data []byte) error {
	next, err := os.CreateTemp(filepath.Dir(file), ".next-") // of mode 0600
	if err != nil {
		return err
	}
	_, err = next.Write(data)
	if err = errors.Join(err, next.Sync(), next.Close()); err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		_ = os.Remove(next.Name())
	}
	return err
}
