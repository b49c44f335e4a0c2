// Package client reads what a Spatial-Flow gateway shows, and asks it about pictures. It needs neither NATS nor cgo.
//
//	gateway, err := client.Dial(ctx, "http://127.0.0.1:8000", client.Options{})
//	…
//	for scene, err := range gateway.Scenes(ctx, "cam1") {
//
// Where a gateway asks for a token, [Options].Token gives it: [ErrToken] says that it is not taken.
//
// What is read is of package [github.com/spatial-flow/spatial-flow/client/api]. A gateway is not trusted: what it sends is
// bounded before it is kept, redirects are not followed, and a gateway that breaks down again and again is asked less and
// less often.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spatial-flow/spatial-flow/client/api"
)

// ErrAddress is returned when a gateway's address is none.
var ErrAddress = errors.New("bad address of a gateway")

// notAllowed is the reason of a problem with a token that is right, and may not do what is asked for.
const notAllowed = "not_allowed"

// Bounds of answers.
const (
	maxProblem    = 64 << 10
	maxCaller     = 64 << 10
	maxRetryAfter = time.Minute
	answerWithin  = time.Minute
)

// Options are how a gateway is asked; the zero value is fine.
type Options struct {
	// HTTP carries all requests; nil: one that follows no redirects, and gives up after a minute.
	HTTP *http.Client
	// TLS is whom to believe that it is the gateway, and who this program is, unless HTTP is set; nil: the authorities of the system.
	TLS *tls.Config
	// Token gives the token that the gateway wants, as of now: it is asked for every request and every connection, by any goroutine.
	// nil: none is sent. [TokenFile] reads a file. It goes to whoever is at the gateway's address: in clear text unless that is https.
	Token func() (string, error)
	// MaxMessage bounds a message of the websocket, in bytes; 0: 64 MiB.
	MaxMessage int64
}

// Client asks one gateway. It is safe for many goroutines.
type Client struct {
	base       *url.URL
	http       *http.Client
	given      func() (string, error) // gives the token; nil: there is none
	maxMessage int64
}

// New makes a client of the gateway at an address like http://127.0.0.1:8000, or https://host/path where it is behind a
// proxy. Nothing is asked yet. [ErrAddress] is returned when the address is none.
func New(address string, options Options) (*Client, error) {
	base, err := url.Parse(address)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("%w: %q is not like http://127.0.0.1:8000", ErrAddress, redacted(base, address))
	}
	base.RawQuery, base.Fragment = "", ""
	c := &Client{base: base, http: options.HTTP, given: options.Token, maxMessage: options.MaxMessage}
	if c.http == nil {
		c.http = &http.Client{Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		if options.TLS != nil {
			transport := http.DefaultTransport.(*http.Transport).Clone()
			transport.TLSClientConfig = options.TLS.Clone()
			c.http.Transport = transport
		}
	}
	if c.maxMessage <= 0 {
		c.maxMessage = 64 << 20
	}
	return c, nil
}

func redacted(u *url.URL, text string) string {
	if u == nil {
		return text
	}
	return u.Redacted()
}

// Dial is New, and asks the gateway for its status: an error is returned when none answers, and [ErrToken] when it does not take the
// token. That a token may not view is found out later: it may be good for [Client.Predict].
func Dial(ctx context.Context, address string, options Options) (*Client, error) {
	c, err := New(address, options)
	if err != nil {
		return nil, err
	}
	var p *api.Problem
	if _, err := c.Status(ctx); err != nil && (!errors.As(err, &p) || p.Reason != notAllowed) {
		return nil, err
	}
	return c, nil
}

// Status is what the gateway knows of its sources: those that the token may see. [*api.Problem] is returned when it refuses, [api.ErrMessage] when it
// answers something else.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	body, err := c.do(ctx, http.MethodGet, "/api/v1/sources", "", nil, api.MaxHeader)
	if err != nil {
		return nil, err
	}
	return api.ParseStatus(body)
}

// Scene is a source's newest scene. [*api.Problem] with status 404 is returned when there is none.
func (c *Client) Scene(ctx context.Context, source string) (*api.Scene, error) {
	body, err := c.do(ctx, http.MethodGet, "/api/v1/sources/"+url.PathEscape(source)+"/scene", "", nil, api.MaxHeader)
	if err != nil {
		return nil, err
	}
	return api.ParseScene(body)
}

// Caller is who the gateway takes the caller for, and what that one may do.
func (c *Client) Caller(ctx context.Context) (*api.Caller, error) {
	body, err := c.do(ctx, http.MethodGet, "/api/v1/caller", "", nil, maxCaller)
	if err != nil {
		return nil, err
	}
	return api.ParseCaller(body)
}

// Question is what is asked about a picture beside the picture; the zero value asks for the boxes that all groups find.
type Question struct {
	Groups     []string // worker groups that have to answer; empty: those that the deployment requires
	Classes    []string // labels that are wanted; empty: all
	Confidence float32  // least score of boxes, 0 to 1; the models' own bound holds too
	Depth      bool     // the depth map is wanted too
}

// Predict asks what is in a picture: JPEG, PNG, BMP, WebP, TIFF or GIF, of at most 16 MiB. [*api.Problem] is returned when the
// gateway refuses; with status 503 it may be asked again after RetryAfter.
func (c *Client) Predict(ctx context.Context, picture []byte, ask Question) (*api.PictureScene, error) {
	query := url.Values{}
	if len(ask.Groups) > 0 {
		query.Set("groups", strings.Join(ask.Groups, ","))
	}
	if len(ask.Classes) > 0 {
		query.Set("classes", strings.Join(ask.Classes, ","))
	}
	if ask.Confidence > 0 {
		query.Set("confidence", strconv.FormatFloat(float64(ask.Confidence), 'g', -1, 32))
	}
	if ask.Depth {
		query.Set("depth", "true")
	}
	path := "/api/v1/predict"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	body, err := c.do(ctx, http.MethodPost, path, "application/octet-stream", bytes.NewReader(picture), api.MaxPrediction)
	if err != nil {
		return nil, err
	}
	return api.ParsePictureScene(body)
}

// do is the body of an answer of at most most bytes.
func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader, most int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.address(path), body)
	if err != nil {
		return nil, err
	}
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	authorize(request.Header, token)
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, refused(problem(response))
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%w: %s answers more than %d bytes", api.ErrMessage, path, most)
	}
	return data, nil
}

// address is where a path of the gateway is.
func (c *Client) address(path string) string { return strings.TrimSuffix(c.base.String(), "/") + path }

func problem(response *http.Response) *api.Problem {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxProblem)) // what there is of it has to do
	p := api.ParseProblem(response.StatusCode, body)
	if to := response.Header.Get("Location"); to != "" && p.Detail == "" && p.Message == "" {
		p.Message = "it has moved to " + to
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = min(time.Duration(min(seconds, 3600))*time.Second, maxRetryAfter)
	}
	return p
}
