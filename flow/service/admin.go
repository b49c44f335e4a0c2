package service

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/spatial-flow/spatial-flow/flow/telemetry"
)

// AdminAddress is where a program is looked at and stopped: the settings that every program which stays has.
type AdminAddress struct {
	Admin        string `default:"127.0.0.1:8001" help:"Address of /metrics, /healthz, /readyz and, over the loopback address alone, /drain and /debug/pprof; empty: none."`
	AdminTLSCert string `name:"admin-tls-cert" placeholder:"FILE" help:"Certificate of --admin (PEM, those of its issuers after it): it answers by https alone then. Read again when it changes."`
	AdminTLSKey  string `name:"admin-tls-key" placeholder:"FILE" help:"Key of --admin-tls-cert (PEM)."`
}

// Validate returns [telemetry.ErrCertificate], naming the file, when the certificate can't be used.
func (a AdminAddress) Validate() error {
	if err := a.TLS().Validate(); err != nil {
		return fmt.Errorf("--admin-tls-cert, --admin-tls-key: %w", err)
	}
	return nil
}

// TLS is the certificate's files.
func (a AdminAddress) TLS() telemetry.TLSFiles {
	return telemetry.TLSFiles{Cert: a.AdminTLSCert, Key: a.AdminTLSKey}
}

// errOtherCertificate is what the admin address of another program has.
var errOtherCertificate = errors.New("the program that answers has another certificate than --admin-tls-cert")

// trust is the rules by which a program with this certificate, and no other, is asked: by whatever name it is called, as what is asked is
// an address of this machine.
func trust(file string) (*tls.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--admin-tls-cert: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("--admin-tls-cert %s: it begins with no certificate (PEM)", file)
	}
	own := sha256.Sum256(block.Bytes)
	return &tls.Config{
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || sha256.Sum256(raw[0]) != own {
				return errOtherCertificate
			}
			return nil
		},
	}, nil
}
