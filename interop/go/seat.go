package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long one turn of a stress may take; a line that stands still is a failure.
const turnMax = 60 * time.Second

// seat does one thing after the other, with what it holds by path.
type seat struct {
	session   *session
	name      string
	orders    chan order
	mutexes   map[string]*concurrency.Mutex
	elections map[string]*concurrency.Election
}

func (s *seat) work() {
	for next := range s.orders {
		answer, err := s.obey(next.words)
		if err != nil {
			// One line is one answer.
			say("%s failed %s", next.number, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			say("%s ok %s", next.number, answer)
		}
	}
}

func (s *seat) obey(words []string) (string, error) {
	client := s.session.client
	ctx, cancel := context.WithTimeout(context.Background(), turnMax)
	defer cancel()
	switch verb := words[0]; {
	case verb == "close":
		err := s.session.lease.Close()
		return "closed", err
	case verb == "lock" && len(words) == 4:
		return s.lock(words[1], words[2], words[3])
	case verb == "unlock" && len(words) == 3:
		return s.unlock(ctx, words[1], words[2])
	case verb == "revision" && len(words) == 2:
		held := s.mutexes[words[1]]
		if held == nil {
			return "", errors.New("it is not held here")
		}
		return fmt.Sprintf("revision %d", held.Header().Revision), nil
	case verb == "created" && len(words) == 2:
		revision, err := s.created(words[1])
		return fmt.Sprintf("created %d", revision), err
	case verb == "is-owner" && len(words) == 2:
		return s.isOwner(ctx, words[1])
	case verb == "stress" && len(words) == 5:
		return s.stress(words[2], words[3], words[4])
	case verb == "leader" && len(words) == 2:
		got, err := concurrency.NewElection(s.session.lease, words[1]).Leader(ctx)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("leader %s %s", got.Kvs[0].Key, got.Kvs[0].Value), nil
	case verb == "observe" && len(words) == 2:
		s.observe(words[1])
		return "observes", nil
	case verb == "proclaim" && len(words) == 3:
		held := s.elections[words[1]]
		if held == nil {
			return "", errors.New("it does not lead here")
		}
		return "proclaimed", held.Proclaim(ctx, words[2])
	case verb == "put" && len(words) >= 3:
		_, err := client.Put(ctx, words[1], strings.Join(words[2:], " "))
		return "put", err
	case verb == "get" && len(words) == 2:
		got, err := client.Get(ctx, words[1])
		if err != nil || len(got.Kvs) == 0 {
			return "data ", err
		}
		return "data " + string(got.Kvs[0].Value), nil
	case verb == "ls" && len(words) == 2:
		return s.list(ctx, words[1])
	case verb == "rm" && len(words) == 2:
		_, err := client.Delete(ctx, words[1])
		return "removed", err
	}
	return "", fmt.Errorf("there is no order %q", words)
}

// lock waits for a lock this long. The token is the create revision of the own key.
func (s *seat) lock(kind, path, limitMs string) (string, error) {
	limit, err := strconv.Atoi(limitMs)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(limit)*time.Millisecond)
	defer cancel()
	var key string
	switch kind {
	case "mutex":
		mutex := concurrency.NewMutex(s.session.lease, path)
		if err = mutex.Lock(ctx); err == nil {
			s.mutexes[path], key = mutex, mutex.Key()
		}
	case "try":
		mutex := concurrency.NewMutex(s.session.lease, path)
		if err = mutex.TryLock(ctx); err == nil {
			s.mutexes[path], key = mutex, mutex.Key()
		}
	case "election":
		election := concurrency.NewElection(s.session.lease, path)
		if err = election.Campaign(ctx, s.session.name+"/"+s.name); err == nil {
			s.elections[path], key = election, election.Key()
		}
	default:
		return "", fmt.Errorf("there is no kind of lock %q", kind)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, concurrency.ErrLocked) {
		return "busy", nil
	}
	if err != nil {
		return "", err
	}
	token, err := s.created(key)
	return fmt.Sprintf("granted %d %s", token, key), err
}

// created is the create revision of a key.
func (s *seat) created(key string) (int64, error) {
	got, err := s.session.client.Get(context.Background(), key)
	if err == nil && len(got.Kvs) == 0 {
		err = fmt.Errorf("there is no key %s", key)
	}
	if err != nil {
		return 0, err
	}
	return got.Kvs[0].CreateRevision, nil
}

func (s *seat) unlock(ctx context.Context, kind, path string) (string, error) {
	mutex, election := s.mutexes[path], s.elections[path]
	switch {
	case kind != "election" && mutex != nil:
		delete(s.mutexes, path)
		return "released", mutex.Unlock(ctx)
	case kind == "election" && election != nil:
		delete(s.elections, path)
		return "released", election.Resign(ctx)
	}
	return "", errors.New("it is not held here")
}

// isOwner asks as a program does that writes only while it holds.
func (s *seat) isOwner(ctx context.Context, path string) (string, error) {
	mutex := s.mutexes[path]
	if mutex == nil {
		return "", errors.New("it is not held here")
	}
	got, err := s.session.client.Txn(ctx).If(mutex.IsOwner()).Commit()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("owner %t", got.Succeeded), nil
}

func (s *seat) observe(path string) {
	seen := concurrency.NewElection(s.session.lease, path).Observe(context.Background())
	// It ends with the program.
	go func() {
		for leader := range seen {
			say("! %s/%s leads %s %s", s.session.name, s.name, path, leader.Kvs[0].Value)
		}
	}()
}

// list tells the keys below a path in order of creation, each without the path.
func (s *seat) list(ctx context.Context, path string) (string, error) {
	order := clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)
	got, err := s.session.client.Get(ctx, path+"/", clientv3.WithPrefix(), order)
	if err != nil {
		return "", err
	}
	answer := "children"
	for _, kv := range got.Kvs {
		answer += " " + strings.TrimPrefix(string(kv.Key), path+"/")
	}
	return answer, nil
}

// stress takes the lock again and again until the counter it protects has reached the goal.
func (s *seat) stress(path, counter, goal string) (string, error) {
	limit, err := strconv.ParseUint(goal, 10, 64)
	if err != nil {
		return "", err
	}
	for own := 0; ; own++ {
		goesOn, err := s.turn(path, counter, limit)
		if err != nil {
			return "", err
		}
		if !goesOn {
			return fmt.Sprintf("done %d", own), nil
		}
	}
}

func (s *seat) turn(path, counter string, goal uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), turnMax)
	defer cancel()
	mutex := concurrency.NewMutex(s.session.lease, path)
	if err := mutex.Lock(ctx); err != nil {
		return false, err
	}
	token, err := s.created(mutex.Key())
	if err != nil {
		return false, err
	}
	goesOn, err := count(ctx, s.session.client, counter, goal, token)
	if err != nil {
		return false, err
	}
	return goesOn, mutex.Unlock(ctx)
}

// count adds one to a counter in the way that loses increments where two hold the lock: read, then
// write without a comparison. Beside the count stands the token of the last holder. False if the
// goal was reached already.
func count(ctx context.Context, client *clientv3.Client, counter string, goal uint64, token int64) (bool, error) {
	got, err := client.Get(ctx, counter)
	if err != nil {
		return false, err
	}
	if len(got.Kvs) == 0 {
		return false, fmt.Errorf("there is no counter %s", counter)
	}
	var reached uint64
	var last int64
	if _, err := fmt.Sscan(string(got.Kvs[0].Value), &reached, &last); err != nil {
		return false, err
	}
	if token <= last {
		return false, fmt.Errorf("token %d after %d", token, last)
	}
	if reached >= goal {
		return false, nil
	}
	_, err = client.Put(ctx, counter, fmt.Sprintf("%d %d", reached+1, token))
	return true, err
}
