#include <benchmark/benchmark.h>

#include "bench/ops/op_bench.h"
#include "bench/synthetic.h"
#include "models/qwen3vl/text.h"
#include "ops/matmul/pack.h"
#include "tensor/plan.h"

namespace tessera::bench {
namespace {

using namespace qwen3vl;

// The 4B text model in Q4_0 without its numbers: a graph looks at shapes alone.
struct Shapes {
  TextConfig config = synthetic_config("4b")->text;
  TextWeights weights;
  std::vector<LayerCache> cache;

  Shapes() {
    const TextConfig& c = config;
    const std::int64_t hidden = c.hidden_size, inner = c.intermediate_size, head = c.head_dim;
    const std::int64_t q = c.num_attention_heads * head, kv = c.num_key_value_heads * head;
    weights.embed_tokens = weights.lm_head = matrix(c.vocab_size, hidden);
    weights.norm = vector(hidden);
    const TensorView layer_cache(DType::kF16, {4096, c.num_key_value_heads, head}, nullptr);
    for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
      weights.layers.push_back({vector(hidden), matrix(q, hidden), matrix(kv, hidden), matrix(kv, hidden),
                                vector(head), vector(head), matrix(hidden, q), vector(hidden),
                                matrix(inner, hidden), matrix(inner, hidden), matrix(hidden, inner)});
      cache.push_back({layer_cache, layer_cache});
    }
  }

  static TensorView vector(std::int64_t n) { return {DType::kF32, {n}, nullptr}; }
  static TensorView matrix(std::int64_t n, std::int64_t k) {
    TensorView w(DType::kQ4_0, {n, k}, nullptr);
    w.layout = static_cast<std::uint8_t>(ops::WeightLayout::kBlockPanels);
    w.strides = {};
    return w;
  }
};

void build(const Shapes& shapes, Graph& g) {
  g.clear();
  TextInputs in;
  in.cache = shapes.cache;
  in.tokens = g.input(DType::kI32, {1}, "tokens");
  in.positions = g.input(DType::kI32, {3, 1}, "positions");
  in.past = g.input(DType::kI32, {1}, "past");
  g.output(text_forward(g, shapes.weights, shapes.config, in, LogitRows::kLast));
}

}  // namespace

void add_graph_rows(const Setup& setup) {
  benchmark::RegisterBenchmark("graph/decode/4b", [cpu = setup.cpu](benchmark::State& state) {
    const Shapes shapes;
    PlanCache plans(cpu);
    Graph g;
    for (auto _ : state) {
      build(shapes, g);
      benchmark::DoNotOptimize(plans.get(g));
    }
    state.SetLabel(std::to_string(plans.get(g)->steps().size()) + " steps");
  })->Unit(benchmark::kMicrosecond);
}

}  // namespace tessera::bench
