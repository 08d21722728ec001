// etcd's own client behind the line protocol of the foreign programs (interop/README.md): locks and
// elections of its package concurrency.
//
//	stdin ── "7 s a lock mutex /t/x 1000" ──► session s ──► seat a, a goroutine ──► stdout
//
// A seat does one thing after the other. All seats of a session share its lease, and with it their
// keys: the package gives a session one place in each line.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/v3/concurrency"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// session is one client with one lease.
type session struct {
	name   string
	client *clientv3.Client
	lease  *concurrency.Session
	seats  map[string]*seat
}

// order is what a seat is to do, and the number its answer goes by.
type order struct {
	number string
	words  []string
}

var output sync.Mutex

func say(format string, values ...any) {
	output.Lock()
	defer output.Unlock()
	fmt.Printf(format+"\n", values...)
}

func main() {
	if len(os.Args) == 5 && os.Args[1] == "increment" {
		increment(os.Args[2], os.Args[3], os.Args[4])
		return
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: interop HOST:PORT[,HOST:PORT]...")
		os.Exit(2)
	}
	endpoints := strings.Split(os.Args[1], ",")
	sessions := map[string]*session{}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		words := strings.Split(orders.Text(), " ")
		if len(words) < 4 {
			fmt.Fprintf(os.Stderr, "no order: %q\n", orders.Text())
			continue
		}
		number, name, words := words[0], words[1], words[2:]
		switch words[1] {
		case "open":
			opened, err := open(endpoints, name, words[2])
			if err == nil {
				sessions[name] = opened
				say("%s ok open %x", number, opened.lease.Lease())
			} else {
				say("%s failed %v", number, err)
			}
		case "die":
			os.Exit(1)
		default:
			if known := sessions[name]; known != nil {
				known.seat(words[0]) <- order{number, words[1:]}
			} else {
				say("%s failed session %s is not open", number, name)
			}
		}
	}
}

func open(endpoints []string, name, ttlMs string) (*session, error) {
	ms, err := strconv.Atoi(ttlMs)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	// A lease is counted in whole seconds.
	lease, err := concurrency.NewSession(client, concurrency.WithTTL((ms+999)/1000))
	if err != nil {
		return nil, err
	}
	opened := &session{name, client, lease, map[string]*seat{}}
	go func() {
		<-lease.Done()
		say("! %s over", name)
	}()
	return opened, nil
}

// seat finds a seat of the session, or makes it: it ends with the program.
func (s *session) seat(name string) chan<- order {
	found := s.seats[name]
	if found == nil {
		found = &seat{s, name, make(chan order, 16), map[string]*concurrency.Mutex{}, map[string]*concurrency.Election{}}
		s.seats[name] = found
		go found.work()
	}
	return found.orders
}

// increment is what `etcdctl lock` runs while it holds: it adds one to a counter, without a
// comparison, and fails if the goal is reached.
func increment(endpoints, counter, goal string) {
	client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(endpoints, ","), DialTimeout: 10 * time.Second})
	exit(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	// The key is etcdctl's own, so its create revision is the token that everybody sees.
	held, err := client.Get(ctx, os.Getenv("ETCD_LOCK_KEY"))
	exit(err)
	if len(held.Kvs) == 0 {
		exit(fmt.Errorf("the lock's key is gone"))
	}
	limit, err := strconv.ParseUint(goal, 10, 64)
	exit(err)
	goesOn, err := count(ctx, client, counter, limit, held.Kvs[0].CreateRevision)
	exit(err)
	if !goesOn {
		os.Exit(3)
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
