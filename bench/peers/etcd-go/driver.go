// Mutex of etcd's Go package concurrency, driven by the bench.
//
// What is said on the input and the output is told in bench/src/drive/mod.rs; the words of a piece
// of work in bench/src/compare/work.rs. Each task is a goroutine with a mutex of its own on the
// session that the work gives it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"go.etcd.io/etcd/client/v3/concurrency"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const leaseSeconds = 20

type work struct {
	server, path                                   string
	clients, tasks, names, rounds, millis, holdsUs int
}

type hold struct {
	task                                 int
	asked, acquired, releasing, released int64
}

type client struct {
	client  *clientv3.Client
	session *concurrency.Session
}

// now is CLOCK_MONOTONIC, which all processes of the machine share; time.Now shows it to nobody.
func now() int64 {
	var at syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&at)), 0)
	return at.Nano()
}

func cpuMicros() float64 {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e3
}

func fail(err error) {
	if err != nil {
		fmt.Printf("failed: %v\n", err)
		os.Exit(1)
	}
}

func open(w work) client {
	config := clientv3.Config{Endpoints: []string{w.server}, DialTimeout: 15 * time.Second}
	c, err := clientv3.New(config)
	fail(err)
	session, err := concurrency.NewSession(c, concurrency.WithTTL(leaseSeconds))
	fail(err)
	return client{c, session}
}

// keep holds. Below a millisecond it is busy, because a timer is not that exact.
func (w work) keep() {
	end := now() + int64(w.holdsUs)*1000
	if w.holdsUs >= 1000 {
		time.Sleep(time.Duration(w.holdsUs) * time.Microsecond)
		return
	}
	for now() < end {
	}
}

// barrier lets all tasks go on when the last has come.
type barrier struct {
	sync.Mutex
	count, waiting int
	open           chan struct{}
}

func (b *barrier) wait() {
	b.Lock()
	b.waiting++
	open := b.open
	if b.waiting == b.count {
		b.waiting, b.open = 0, make(chan struct{})
		close(open)
	}
	b.Unlock()
	<-open
}

func (w work) takeTurns(task int, session *concurrency.Session, meet *barrier) []hold {
	mutex := concurrency.NewMutex(session, fmt.Sprintf("%s/%d", w.path, task%w.names))
	var holds []hold
	meet.wait()
	end := now() + int64(w.millis)*1_000_000
	for turn := 0; ; turn++ {
		if w.rounds > 0 && turn == w.rounds || w.rounds == 0 && now() >= end {
			return holds
		}
		if w.rounds > 0 {
			meet.wait()
		}
		asked := now()
		fail(mutex.Lock(context.Background()))
		acquired := now()
		w.keep()
		releasing := now()
		fail(mutex.Unlock(context.Background()))
		holds = append(holds, hold{task, asked, acquired, releasing, now()})
	}
}

func (w work) run(clients []client) []hold {
	meet := &barrier{count: w.tasks, open: make(chan struct{})}
	all := make([][]hold, w.tasks)
	var running sync.WaitGroup
	for task := range all {
		running.Add(1)
		go func(task int) {
			defer running.Done()
			all[task] = w.takeTurns(task, clients[task%w.clients].session, meet)
		}(task)
	}
	running.Wait()
	var holds []hold
	for _, of := range all {
		holds = append(holds, of...)
	}
	return holds
}

func main() {
	input := bufio.NewScanner(os.Stdin)
	output := bufio.NewWriter(os.Stdout)
	say := func(format string, values ...any) {
		fmt.Fprintf(output, format+"\n", values...)
		output.Flush()
	}
	for input.Scan() {
		var w work
		_, err := fmt.Sscan(input.Text(), &w.server, &w.path, &w.clients, &w.tasks, &w.names,
			&w.rounds, &w.millis, &w.holdsUs)
		fail(err)
		var clients []client
		for len(clients) < w.clients {
			clients = append(clients, open(w))
		}
		say("ready")
		input.Scan()
		before := cpuMicros()
		holds := w.run(clients)
		used := cpuMicros() - before
		for _, h := range holds {
			fmt.Fprintln(output, h.task, h.asked, h.acquired, h.releasing, h.released)
		}
		say("cpu %f", used)
		input.Scan()
		for _, c := range clients {
			fail(c.session.Close())
			fail(c.client.Close())
		}
		say("closed")
	}
}
