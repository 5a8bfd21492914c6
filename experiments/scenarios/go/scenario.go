// scenario.go - what the Go twins of the scenarios share; built together with each of them.
// Same arguments, columns, random numbers, exit status and processes as the C programs (scenario.c, output.c); the figures
// are those of runtime.MemStats. Findings about spans are asserted here, too: they were made on Go.
package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
)

const mib = 1 << 20

type row struct {
	Scenario      string  `json:"scenario"`
	Allocator     string  `json:"allocator"`
	Variant       string  `json:"variant"`
	T             float64 `json:"t"`
	Live          uint64  `json:"live_bytes"`
	HeapAlloc     uint64  `json:"heap_alloc"`
	HeapInuse     uint64  `json:"heap_inuse"`
	HeapUsage     uint64  `json:"heap_usage"`
	Resident      uint64  `json:"resident"`
	Fragmentation int64   `json:"fragmentation"`
	Extra         string  `json:"extra"`
}

type finding struct {
	Text     string `json:"text"`
	Holds    bool   `json:"holds"`
	Asserted bool   `json:"asserted"`
	Differs  string `json:"differs"`
}

type scenario struct {
	name, question, workload, metric, finding string
	run                                       func()
	part                                      func(name string)
	options                                   func(flags *flag.FlagSet) // of its own; nil: none
}

var (
	small   bool
	seed    uint64
	state   uint64 // of the random numbers
	rows    []*row
	name    string
	verdict = finding{Holds: true, Asserted: true}
)

func random() uint64 { return splitmix(&state) }

func splitmix(s *uint64) uint64 {
	*s += 0x9e3779b97f4a7c15
	z := *s
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

func below(n uint64) uint64 {
	high, _ := bits.Mul64(random(), n)
	return high
}

func die(status int, format string, values ...any) {
	fmt.Fprintf(os.Stderr, name+"-go: "+format+"\n", values...)
	os.Exit(status)
}

func resident() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		die(1, "cannot read /proc/self/statm")
	}
	pages, _ := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// peek reads the figures as they are.
func peek() row {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return row{Scenario: name, Allocator: "go", HeapAlloc: m.HeapAlloc, HeapInuse: m.HeapInuse,
		HeapUsage: m.HeapSys - m.HeapReleased, Resident: resident(), Fragmentation: int64(m.HeapInuse) - int64(m.HeapAlloc)}
}

// collected reads them after collecting and giving free memory back.
func collected() row {
	debug.FreeOSMemory()
	return peek()
}

// add makes a row of figures read before.
func add(at row, variant string, t float64, live uint64, extra string, values ...any) *row {
	at.Variant, at.T, at.Live, at.Extra = variant, t, live, fmt.Sprintf(extra, values...)
	rows = append(rows, &at)
	return &at
}

// measure collects, gives free memory back, and adds a row.
func measure(variant string, t float64, live uint64, extra string, values ...any) *row {
	return add(collected(), variant, t, live, extra, values...)
}

func (r *row) fragmentation() float64 { return float64(r.Fragmentation) / mib }

func (r *row) addExtra(extra string, values ...any) {
	if r.Extra != "" {
		r.Extra += ";"
	}
	r.Extra += fmt.Sprintf(extra, values...)
}

func (r *row) number(key string) float64 {
	for _, pair := range strings.Split(r.Extra, ";") {
		if strings.HasPrefix(pair, key+"=") {
			value, _ := strconv.ParseFloat(pair[len(key)+1:], 64)
			return value
		}
	}
	die(1, "the row %s at %g has no %s", r.Variant, r.T, key)
	return 0
}

func find(variant string, t float64) *row {
	for _, r := range rows {
		if r.Variant == variant && r.T == t {
			return r
		}
	}
	die(1, "there is no row %s at %g", variant, t)
	return nil
}

func expect(holds bool, differs string, values ...any) {
	if !holds && verdict.Holds {
		verdict.Holds = false
		verdict.Differs = fmt.Sprintf(differs, values...)
	}
}

// runParts runs this program again for each part, all at once, each from an empty heap; their rows become rows here.
func runParts(parts ...string) {
	outputs := make([][]byte, len(parts))
	var all sync.WaitGroup
	for i, part := range parts {
		all.Add(1)
		go func(i int, part string) {
			defer all.Done()
			command := exec.Command("/proc/self/exe", "--part", part, "--seed", fmt.Sprint(seed), fmt.Sprintf("--small=%t", small))
			command.Stderr = os.Stderr
			output, err := command.Output()
			if err != nil {
				die(1, "%s did not end well", part)
			}
			outputs[i] = output
		}(i, part)
	}
	all.Wait()
	for _, output := range outputs {
		decoder := json.NewDecoder(bytes.NewReader(output))
		for {
			r := new(row)
			if decoder.Decode(r) != nil {
				break
			}
			rows = append(rows, r)
		}
	}
}

func progress(done, total int) {
	if info, err := os.Stderr.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r%s %3d %%", name, 100*done/total)
		if done == total {
			fmt.Fprint(os.Stderr, "\r\033[K")
		}
	}
}

func open(path string) *os.File {
	if path == "" {
		return nil
	}
	if path == "-" {
		return os.Stdout
	}
	file, err := os.Create(path)
	if err != nil {
		die(2, "%v", err)
	}
	return file
}

func writeCSV(to io.Writer) error {
	w := csv.NewWriter(to)
	w.Write(strings.Split("scenario,allocator,variant,t,live_bytes,heap_alloc,heap_inuse,heap_usage,resident,fragmentation,extra", ","))
	for _, r := range rows {
		w.Write([]string{r.Scenario, r.Allocator, r.Variant, strconv.FormatFloat(r.T, 'g', 10, 64), fmt.Sprint(r.Live),
			fmt.Sprint(r.HeapAlloc), fmt.Sprint(r.HeapInuse), fmt.Sprint(r.HeapUsage), fmt.Sprint(r.Resident),
			fmt.Sprint(r.Fragmentation), r.Extra})
	}
	w.Flush()
	return w.Error()
}

func writeJSON(to io.Writer, s *scenario) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"scenario": s.name, "allocator": "go", "question": s.question,
		"workload": s.workload, "metric": s.metric, "finding": verdict, "rows": rows})
}

func writeTable(to io.Writer) error {
	for _, r := range rows {
		fmt.Fprintf(to, "%-30s %8g live %8.2f alloc %8.2f in use %8.2f usage %8.2f MiB  %s\n", r.Variant, r.T,
			float64(r.Live)/mib, float64(r.HeapAlloc)/mib, float64(r.HeapInuse)/mib, float64(r.HeapUsage)/mib, r.Extra)
	}
	_, err := fmt.Fprintf(to, "Finding: %s\nIt holds here: %t\n", verdict.Text, verdict.Holds)
	return err
}

func parse(s *scenario) (csvTo, jsonTo *os.File, part string) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	csvPath := flags.String("csv", "", "rows as CSV, - for standard output")
	jsonPath := flags.String("json", "", "rows and finding as JSON, - for standard output")
	flags.BoolVar(&small, "small", false, "a few seconds instead of up to a minute")
	flags.Uint64Var(&seed, "seed", 1, "another sequence of random numbers")
	flags.StringVar(&part, "part", "", "for processes that the scenario starts")
	if s.options != nil {
		s.options(flags)
	}
	err := flags.Parse(os.Args[1:])
	if err == flag.ErrHelp {
		fmt.Printf("%s: %s\n%s\nMetric: %s\nFinding: %s\n", s.name, s.question, s.workload, s.metric, s.finding)
		flags.SetOutput(os.Stdout)
		flags.PrintDefaults()
		os.Exit(0)
	}
	if err != nil {
		die(2, "%v", err)
	}
	if flags.NArg() > 0 {
		die(2, "argument %s: not known; --help lists the options", flags.Arg(0))
	}
	return open(*csvPath), open(*jsonPath), part
}

func runScenario(s *scenario) {
	name, verdict.Text = s.name, s.finding
	csvTo, jsonTo, part := parse(s)
	state = seed
	if part != "" {
		s.part(part)
		encoder := json.NewEncoder(os.Stdout)
		for _, r := range rows {
			encoder.Encode(r)
		}
		return
	}
	s.run()
	var err error
	if csvTo != nil {
		err = writeCSV(csvTo)
	}
	if jsonTo != nil && err == nil {
		err = writeJSON(jsonTo, s)
	}
	if csvTo == nil && jsonTo == nil {
		err = writeTable(os.Stdout)
	}
	if err != nil {
		die(1, "cannot write the output")
	}
	if !verdict.Holds {
		die(1, "the finding does not hold: %s", verdict.Differs)
	}
}
