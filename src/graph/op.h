// Op: what a node computes, as an immutable value: one attribute struct behind a common face. Copying
// is cheap (shared); every function is const and may be called from any thread.
//
// An attribute struct A (in src/ops) provides
//   static constexpr std::string_view kName;                    "conv"
//   template <class Self, class V> static void fields(Self& self, V&& visit);   visit("kernel",
//   self.kernel) std::vector<TensorDesc> infer(Descs src) const;             shape rule; throws Error
//   Cost cost(Descs src, Descs dst) const;
//   void reference(Views src, Views dst) const;                 plain layout, f32 or f64
// Where it takes parameters (weights) as its last operands, it also has
//   std::vector<Param> params(Descs src) const;                 of the operands that come before them
// Where some operands are f32 also where its data is f16 (labels, counts, statistics), it has
//   bool keeps_f32(std::size_t operand) const;                  what results are, its shape rule says
#pragma once

#include <memory>
#include <span>
#include <string>
#include <typeinfo>
#include <vector>

#include "graph/fields.h"
#include "tensor/tensor_desc.h"

namespace maru {

using Descs = std::span<const TensorDesc>;
using Views = std::span<const TensorView>;

// Work of one node. A multiply-add counts as 2 flops.
struct Cost {
  double flops = 0;
  double bytes = 0;  // read and written once each, weights included
};

struct Param {
  std::string_view role;  // "weight", "bias"
  Shape shape;
  bool operator==(const Param&) const = default;
};

class Op {
 public:
  template <class A>
  requires requires { A::kName; }
  Op(A attributes)  // NOLINT(google-explicit-constructor): an attribute struct is an operator
      : model_(std::make_shared<const Model<A>>(std::move(attributes))) {}

  std::string_view name() const { return model_->name(); }
  // The attributes, or nullptr when this is another operator.
  template <class A>
  const A* as() const {
    return model_->type() == typeid(A) ? &static_cast<const Model<A>&>(*model_).attributes : nullptr;
  }

  std::vector<TensorDesc> infer(Descs src) const { return model_->infer(src); }
  Cost cost(Descs src, Descs dst) const { return model_->cost(src, dst); }
  void reference(Views src, Views dst) const { model_->reference(src, dst); }
  std::vector<Param> params(Descs src) const { return model_->params(src); }
  bool keeps_f32(std::size_t operand) const { return model_->keeps_f32(operand); }

  // "kernel=3x3 stride=2x2 ..."; attributes at their default are left out.
  std::string attributes() const { return model_->print(); }
  // Equal for operators that compute the same.
  std::string key() const {
    const std::string text = attributes();
    return text.empty() ? std::string(name()) : std::string(name()) + " " + text;
  }

 private:
  struct Face {
    virtual ~Face() = default;
    virtual std::string_view name() const = 0;
    virtual const std::type_info& type() const = 0;
    virtual std::vector<TensorDesc> infer(Descs src) const = 0;
    virtual Cost cost(Descs src, Descs dst) const = 0;
    virtual void reference(Views src, Views dst) const = 0;
    virtual std::vector<Param> params(Descs src) const = 0;
    virtual bool keeps_f32(std::size_t operand) const = 0;
    virtual std::string print() const = 0;
  };

  template <class A>
  struct Model final : Face {
    explicit Model(A a) : attributes(std::move(a)) {}
    std::string_view name() const override { return A::kName; }
    const std::type_info& type() const override { return typeid(A); }
    std::vector<TensorDesc> infer(Descs src) const override { return attributes.infer(src); }
    Cost cost(Descs src, Descs dst) const override { return attributes.cost(src, dst); }
    void reference(Views src, Views dst) const override { attributes.reference(src, dst); }
    std::vector<Param> params(Descs src) const override {
      if constexpr (requires { attributes.params(src); }) {
        return attributes.params(src);
      } else {
        return {};
      }
    }
    bool keeps_f32(std::size_t operand) const override {
      if constexpr (requires { attributes.keeps_f32(operand); }) {
        return attributes.keeps_f32(operand);
      } else {
        return false;
      }
    }
    std::string print() const override { return print_fields(attributes); }

    A attributes;
  };

  std::shared_ptr<const Face> model_;
};

}  // namespace maru
