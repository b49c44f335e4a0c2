// Package credentials is what a program that asks a gateway is given on its command line: the file of a token, and whom to believe.
package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/spatial-flow/spatial-flow/client"
)

// ErrCredentials is returned when a file that a flag names is not what it should be.
var ErrCredentials = errors.New("bad credentials")

// Flags are the settings of every program that asks a gateway.
type Flags struct {
	TokenFile string `name:"token-file" placeholder:"FILE" help:"File with the token that the gateway asks for; read again for every question and connection, so that a new one needs no restart."`
	GatewayCA string `name:"gateway-ca" placeholder:"FILE" help:"Certificates (PEM) of the authorities that may have signed the gateway's; without it: those of the system."`
}

var tokenText = regexp.MustCompile(`^sf_[A-Za-z0-9_-]{43}$`)

// Options are how the gateway is asked. [ErrCredentials] is returned when --gateway-ca holds no certificate, or --token-file is a token;
// the token is read later.
func (f Flags) Options() (client.Options, error) {
	var options client.Options
	if tokenText.MatchString(f.TokenFile) {
		return options, fmt.Errorf("%w: --token-file is given the token itself, which others may have seen now: want the file that holds it", ErrCredentials)
	}
	if f.TokenFile != "" {
		options.Token = client.TokenFile(f.TokenFile)
	}
	if f.GatewayCA == "" {
		return options, nil
	}
	pem, err := os.ReadFile(f.GatewayCA)
	if err != nil {
		return options, fmt.Errorf("%w: --gateway-ca: %w", ErrCredentials, err)
	}
	options.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !options.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return options, fmt.Errorf("%w: --gateway-ca %s holds no certificate (PEM)", ErrCredentials, f.GatewayCA)
	}
	return options, nil
}

// Explain adds to why a gateway gave no answer which flag mends it, where one does.
func (f Flags) Explain(err error) error {
	var authority x509.UnknownAuthorityError
	switch {
	case errors.Is(err, client.ErrToken) && f.TokenFile == "":
		return fmt.Errorf("%w (--token-file FILE gives one)", err)
	case errors.Is(err, client.ErrToken):
		return fmt.Errorf("%w (--token-file %s)", err, f.TokenFile)
	case errors.As(err, &authority):
		return fmt.Errorf("%w (--gateway-ca FILE names its authority)", err)
	}
	return err
}

// Final says whether asking again is of no use: the gateway does not take the token, or is not believed.
func Final(err error) bool {
	var invalid *tls.CertificateVerificationError
	return errors.Is(err, client.ErrToken) || errors.As(err, &invalid)
}
