// A Weaviate that takes everything and keeps nothing: what a client costs beside it is the client's own cost.
//
// It answers BatchObjects, BatchReferences, Search and the health check with an empty message, each after a
// delay if one is asked for, and the few REST paths that clients ask before they write. Requests are counted,
// not parsed; GET /count gives how many of each kind came, and how many bytes the BatchObjects had.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
)

const largest = 104858000 // bytes in a message, as the real server has it

var requests, searches, checks, meta, descriptions, size atomic.Int64

// untouched hands messages on as the bytes they are.
type untouched struct{}

func (untouched) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (untouched) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*int) = data.Len()
	return nil
}

func (untouched) Name() string { return "proto" }

func answer(delay time.Duration) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		var length int
		if err := stream.RecvMsg(&length); err != nil {
			return err
		}
		if strings.HasSuffix(method, "/Check") {
			checks.Add(1)
			return stream.SendMsg([]byte{8, 1}) // SERVING
		}
		time.Sleep(delay)
		if strings.HasSuffix(method, "/Search") {
			searches.Add(1)
		}
		if strings.HasSuffix(method, "/BatchObjects") {
			requests.Add(1)
			size.Add(int64(length))
		}
		return stream.SendMsg([]byte{})
	}
}

// schemaPath gives the collection's description, whatever it is called, with the properties of the benchmarks.
const schemaPath = "/v1/schema/"

func property(name, kind string) string {
	return fmt.Sprintf(`{"name":%q,"dataType":[%q],"indexFilterable":true,"indexSearchable":false,
		"indexRangeFilters":false}`, name, kind)
}

// everything is the name of a collection with tenants, two named vectors, and properties of all common types.
const everything = "Everything"

func description(name string) string {
	properties := []string{property("title", "text"), property("url", "text"), property("views", "int")}
	vectors := `"vectorizer":"none","vectorIndexType":"hnsw","vectorIndexConfig":{}`
	if name == everything {
		for _, kind := range []string{"number", "boolean", "date", "uuid", "text[]", "number[]"} {
			properties = append(properties, property(strings.Replace(kind, "[]", "s", 1), kind))
		}
		properties = append(properties, fmt.Sprintf(`{"name":"object","dataType":["object"],"nestedProperties":[%s,%s]}`,
			property("name", "text"), property("number", "int")))
		vectors = `"vectorConfig":{"text":{"vectorizer":{"none":{}},"vectorIndexType":"hnsw","vectorIndexConfig":{}},
			"image":{"vectorizer":{"none":{}},"vectorIndexType":"hnsw","vectorIndexConfig":{}}}`
	}
	return fmt.Sprintf(`{"class":%q,%s,"invertedIndexConfig":{},"shardingConfig":{},"replicationConfig":{},
		"multiTenancyConfig":{"enabled":%t},"properties":[%s]}`,
		name, vectors, name == everything, strings.Join(properties, ","))
}

func reply(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}
}

func counted(counter *atomic.Int64, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		counter.Add(1)
		answer(w, r)
	}
}

func main() {
	rest := flag.Int("rest", 0, "port of REST")
	port := flag.Int("grpc", 0, "port of gRPC")
	delay := flag.Duration("delay", 0, "how long each answer takes, such as 50ms")
	flag.Parse()

	mux := http.NewServeMux()
	mux.HandleFunc("/v1/meta", counted(&meta, reply(fmt.Sprintf(
		`{"hostname":"null","version":"1.39.3","modules":{},"grpcMaxMessageSize":%d}`, largest))))
	mux.HandleFunc("/v1/nodes", reply(`{"nodes":[{"name":"null","status":"HEALTHY","version":"1.39.3",
		"gitHash":"","stats":{"objectCount":0,"shardCount":1},"batchStats":{"queueLength":0,"ratePerSecond":0},
		"shards":null}]}`))
	mux.HandleFunc("/v1/.well-known/ready", reply(""))
	mux.HandleFunc("/v1/.well-known/live", reply(""))
	mux.HandleFunc("/v1/schema", reply(`{"classes":[]}`))
	mux.HandleFunc(schemaPath, func(w http.ResponseWriter, r *http.Request) {
		descriptions.Add(1)
		reply(description(strings.TrimPrefix(r.URL.Path, schemaPath)))(w, r)
	})
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		reply(fmt.Sprintf(`{"requests":%d,"bytes":%d,"searches":%d,"checks":%d,"meta":%d,"descriptions":%d}`,
			requests.Load(), size.Load(), searches.Load(), checks.Load(), meta.Load(), descriptions.Load()))(w, r)
	})
	go func() { log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *rest), mux)) }()

	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(largest),
		grpc.ForceServerCodecV2(untouched{}),
		grpc.UnknownServiceHandler(answer(*delay)),
	)
	log.Fatal(server.Serve(listener))
}
