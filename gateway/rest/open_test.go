package rest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
)

// No handler outlives the gateway: it waits for those whose connections are closed already.
func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o open
		release := make(chan struct{})
		handler := o.counted(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			return w
		}
		go ask()
		go ask()
		synctest.Wait()
		ended := make(chan struct{})
		go func() { o.wait(); close(ended) }()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("two requests are open, and nobody waits for them")
		default:
		}
		if w := ask(); w.Code != http.StatusServiceUnavailable {
			t.Errorf("one that comes now is answered %d, want 503", w.Code)
		}
		close(release)
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("it waits for nobody")
		}
	})
}
