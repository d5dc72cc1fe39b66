// Import of Caffe networks: a .prototxt (V0, V1 or V2) and the .caffemodel with its weights become a
// Graph, of a network that is used as of one that is trained. The weights are not copied: constants
// point into the mapped caffemodel, which they keep alive. Values; nothing is shared between threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "import/prototxt.h"

namespace maru {

// What a data layer (Data, ImageData) says of the photos that it reads. Paths as written.
struct CaffeData {
  std::string where;                // "train_val.prototxt:3 layer 'data'", for errors
  std::string name, type;           // of the layer; type "Data" or "ImageData"
  std::string data_top, label_top;  // names of the graph's inputs; label_top empty: it gives no labels
  std::string source;               // Data: a database; ImageData: a list of "path label"
  std::string backend;              // Data: "lmdb" or "leveldb" (Caffe's default); ImageData: empty
  std::string root;                 // ImageData: root_folder, put before each path
  std::int64_t batch = 0;           // batch_size, or CaffeOptions::batch
  bool shuffle = false;
  std::int64_t skip = 0;              // rand_skip: up to so many samples are skipped at the start
  int new_height = 0, new_width = 0;  // ImageData: photos are resized to this first; 0: they are not
  int crop = 0;                       // crop_size; 0: none
  bool mirror = false;                // at random
  double scale = 1;                   // factor, after the mean was subtracted
  std::vector<double> mean_values;    // none, one for all channels, or one for each
  std::string mean_file;              // binaryproto; empty: none
  bool is_color = true;               // 3 channels (BGR), else 1
  bool force_color = false;           // transform_param: decode to 3 channels whatever is stored
  bool force_gray = false;
};

// A loss of the network: a value of one element, and what it counts.
struct CaffeLoss {
  std::string value;
  double weight = 1;
};

// A layer's parameters, as a .caffemodel stores them.
struct CaffeParam {
  std::string
      name;     // of the constant in the graph: "conv1/weight"; that of the owner where it is shared
  Shape shape;  // of the constant
  std::shared_ptr<const Constant> value;  // that it begins with, wherever the graph has it still
};
struct CaffeStored {
  std::string name, type;  // of the layer
  std::vector<CaffeParam> params;
};

struct CaffeOptions {
  // The state of the network against which include and exclude rules are held.
  std::string phase = "TEST";  // or "TRAIN"
  std::int64_t level = 0;
  std::vector<std::string> stages;
  // Replaces the first extent of every input, and the batch size of data layers.
  std::optional<std::int64_t> batch;
  // Zeros stand in for missing weights, with a note; for looking at a network, not for running it.
  bool allow_missing_weights = false;

  // Data layers become inputs: the data N x C x H x W, the labels N, both f32. Otherwise a network that
  // has one is an Error that asks for the deploy definition.
  bool data_layers = false;
  // C x H x W of what a data layer gives. Where not set, or for a result without axes: its crop or its
  // new size, with 3 channels, or 1 where it is not in colour; an Error where it says neither.
  std::function<Shape(const CaffeData&)> data_shape;
  // Missing weights are drawn by the layers' fillers (Caffe: filler.hpp), with a note that says which.
  // The draw follows from the seed and the parameter's name: the same on every machine, and whatever
  // other layers the network has.
  bool fill = false;
  std::uint64_t seed = 0;
  // More caffemodels; of a layer that several have, the last counts.
  std::vector<std::filesystem::path> more_weights;
};

struct Imported {
  Graph graph;
  // What was passed over: fields nobody reads (with file:line), stored layers without a use, ...
  std::vector<std::string> notes;

  // For training, in the order of the file.
  std::vector<CaffeData> data;
  std::vector<CaffeLoss> losses;    // weights of 0 are not listed
  std::vector<CaffeStored> layers;  // all layers, those without parameters too
  // lr_mult and decay_mult of every constant that is a parameter, by its name.
  std::map<std::string, std::pair<double, double>, std::less<>> rates;
};

// Values are named as the tops, nodes as the layers, parameters "layer/weight". Inputs are the tops of
// Input and data layers (f32), outputs the tops that no layer reads, in the order of the file; a top
// that is a loss is an output too. An in-place layer makes a new value of the same name. Throws Error
// for anything that maru cannot run as Caffe would.
Imported import_caffe(const std::filesystem::path& prototxt,
                      const std::optional<std::filesystem::path>& caffemodel,
                      const CaffeOptions& options = {});
// The same of a definition that is read already; `file` is for errors.
Imported import_caffe(const Message& net, std::string_view file,
                      const std::optional<std::filesystem::path>& caffemodel,
                      const CaffeOptions& options = {});

// The parameters in the order in which Caffe numbers them (Net::learnable_params): by layer, shared
// ones once, those that are frozen and the statistics of BatchNorm included. A solver state lists its
// history so.
std::vector<CaffeParam> learnable_params(const Imported& imported);

}  // namespace maru
