// Package reason says in plain words why a camera gives no pictures. No reason holds a URL.
package reason

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"syscall"
)

var (
	// ErrRefused is returned when the camera knows no such user or password, or lets it not see this: asking again soon locks
	// accounts.
	ErrRefused = errors.New("the camera refuses the user or the password")
	// ErrNotFound is returned when there is nothing at the path.
	ErrNotFound = errors.New("the camera has no such path")
	// ErrNoVideo is returned when there is something, but no video.
	ErrNoVideo = errors.New("no video")
	// ErrCodec is returned when there is video, coded as nothing here reads.
	ErrCodec = errors.New("codec not supported")
	// ErrSilent is returned when the camera is connected, and sends no more pictures.
	ErrSilent = errors.New("the camera sends nothing")
	// ErrAnswer is returned when what answers is no camera, or fails.
	ErrAnswer = errors.New("unexpected answer")
	// ErrNetwork is returned when the camera can't be reached, or is lost.
	ErrNetwork = errors.New("not reached")
)

// Network is an error of the network in plain words.
func Network(err error) error {
	var (
		link      *url.Error
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		timeout   interface{ Timeout() bool }
	)
	if errors.As(err, &link) {
		err = link.Err // else it tells the URL, and what secret its query holds
	}
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("%w: nobody knows the name %.80s", ErrNetwork, dns.Name)
	case errors.As(err, &dns):
		return fmt.Errorf("%w: the name %.80s can't be looked up", ErrNetwork, dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w: connection refused: nothing listens at that port", ErrNetwork)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("%w: no way to that host", ErrNetwork)
	case errors.As(err, &authority), errors.As(err, &hostname), errors.As(err, &invalid), errors.As(err, &verify):
		return fmt.Errorf("%w: its TLS certificate is not trusted; #verify=false takes it all the same", ErrNetwork)
	case errors.As(err, &record):
		return fmt.Errorf("%w: it speaks no TLS at that port", ErrNetwork)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%w: it does not answer in time", ErrNetwork)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: it closed the connection", ErrNetwork)
	}
	return fmt.Errorf("%w: %w", ErrNetwork, err)
}
