package manage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	const text = "\ufeff# cameras\n\ndoor admin:p@ss:w/rd#1%20 x \r\n  yard\trtsp://10.0.0.*  admin:rtsp://S3cret\nempty admin:\ntoken :S3cret\n" +
		"no\nS3cret\nS3cr.et admin:S3cret\ndoor other:S3cret\nbad rtsp://u:S3cret@h admin:S3cret\nhalf rtsp://10.0.0.7\nnone  \n"
	c, errs := ParseCredentials([]byte(text))
	if len(errs) != 7 {
		t.Errorf("%d are wrong: %v", len(errs), errs)
	}
	for _, err := range errs {
		if strings.Contains(err.Error(), "S3cr") || !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("error %v", err)
		}
	}
	c.lookup = func(name string) (string, bool) {
		value, ok := map[string]string{
			"SPATIALFLOW_CREDENTIAL_BACK_DOOR": "http://cam env:S3cret", "SPATIALFLOW_CREDENTIAL_FILE": "a:b", "SPATIALFLOW_CREDENTIAL_DOOR": "not:this", "SPATIALFLOW_CREDENTIAL_BAD": "S3cret",
		}[name]
		return value, ok
	}
	for _, test := range []struct {
		name, uri      string
		user, password string
		err            error
	}{
		{"door", "rtsp://anywhere/", "admin", "p@ss:w/rd#1%20 x ", nil},
		{"yard", "rtsp://10.0.0.7/", "admin", "rtsp://S3cret", nil},
		{"yard", "rtsp://10.0.1.7/", "", "", ErrElsewhere},
		{"yard", "http://10.0.0.7/", "", "", ErrElsewhere},
		{"empty", "rtsp://a/", "admin", "", nil},
		{"token", "rtsp://a/", "", "S3cret", nil},
		{"back-door", "http://cam/", "env", "S3cret", nil},
		{"back_door", "http://other/", "", "", ErrElsewhere},
		{"file", "rtsp://a/", "", "", ErrUnknown},
		{"bad", "rtsp://a/", "", "", ErrUnknown},
		{"nobody", "rtsp://a/", "", "", ErrUnknown},
		{"half", "rtsp://a/", "", "", ErrUnknown},
	} {
		got, err := c.Of(test.name, test.uri)
		if !errors.Is(err, test.err) || got.User() != test.user || got.Password() != test.password {
			t.Errorf("%s for %s: %q %q, %v", test.name, test.uri, got.User(), got.Password(), err)
		}
		if said := fmt.Sprintf("%v %+v %#v %v", got, got, got, err); strings.Contains(said, "S3cr") {
			t.Errorf("%s tells its secret: %s", test.name, said)
		}
	}
}

// Whatever the file holds, what is wrong with it tells none of it but names.
func FuzzCredentials(f *testing.F) {
	f.Add("door", "admin", "p@ss:w/rd#1%20")
	f.Add("door", "rtsp", "//x")
	f.Fuzz(func(t *testing.T, name, user, password string) {
		c, errs := ParseCredentials([]byte(name + " " + user + ":Q" + password + "Q\n"))
		for _, err := range errs {
			if !strings.Contains(name+user, "Q") && strings.Contains(err.Error(), "Q") {
				t.Errorf("%v", err)
			}
		}
		if len(c.file)+len(errs) > 2+strings.Count(name+user+password, "\n") {
			t.Errorf("%d credentials", len(c.file))
		}
	})
}
