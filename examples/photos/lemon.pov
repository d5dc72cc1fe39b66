// Lemons on a grey cloth, one cut in half. Our own scene; README.md says how it becomes lemon.jpg.
#version 3.7;
global_settings { assumed_gamma 1.0 }
camera { location <0.2, 3.0, -6.2> look_at <0.1, 0.65, 0> angle 36 aperture 0.12 focal_point <0, 0.8, -0.6> blur_samples 24 }
light_source { <-6, 10, -6> color rgb <1, 0.98, 0.94> area_light <3,0,0>, <0,3,0>, 4, 4 adaptive 1 jitter }
light_source { <8, 5, -5> color rgb 0.25 shadowless }
plane { y, 0
  pigment { bozo color_map { [0 color rgb <0.42, 0.40, 0.38>] [1 color rgb <0.52, 0.50, 0.47>] } scale 0.6 }
  normal { wrinkles 0.3 scale 0.5 }
}
plane { z, 8 pigment { color rgb <0.36, 0.33, 0.30> } }
#declare Peel = texture {
  pigment { bozo color_map { [0 color rgb <0.93, 0.74, 0.03>] [1 color rgb <0.98, 0.84, 0.10>] } scale 0.5 }
  normal { bumps 0.4 scale 0.05 }
  finish { ambient 0.06 diffuse 0.8 specular 0.35 roughness 0.03 }
}
// An ellipsoid along x with a nipple at one end and a stub at the other.
#declare Lemon = blob {
  threshold 0.5
  sphere { 0, 1.55, 1.25 scale <1.15, 0.92, 0.92> }
  sphere { <1.12, 0, 0>, 0.55, 0.85 }
  sphere { <-1.08, 0, 0>, 0.48, 0.7 }
  texture { Peel }
}
object { Lemon rotate <0, 25, 8> translate <-1.15, 0.8, 0.5> }
object { Lemon rotate <30, -35, 0> translate <1.15, 0.8, 0.7> }
object { Lemon rotate <0, -70, 10> translate <0.1, 0.8, 2.2> }
// A half, cut side to the camera.
union {
  difference {
    object { Lemon rotate 90*y }
    box { <-3, -3, -3>, <3, 3, 0> texture { Peel } }
  }
  cylinder { <0, 0, -0.004>, <0, 0, 0.05>, 0.90 pigment { color rgb <0.98, 0.95, 0.74> } }
  #declare I = 0;
  #while (I < 9)
    prism {
      linear_spline -0.02, 0.03, 7, <0, 0.07>, <0.235, 0.67>, <0.13, 0.77>, <0, 0.80>, <-0.13, 0.77>, <-0.235, 0.67>, <0, 0.07>
      rotate -90*x
      pigment { bozo color_map { [0 color rgb <0.95, 0.82, 0.22>] [1 color rgb <0.98, 0.90, 0.42>] } scale 0.08 }
      normal { bumps 0.3 scale 0.05 }
      finish { specular 0.5 roughness 0.02 ambient 0.1 }
      translate -0.01*z
      rotate z*I*40
    }
    #declare I = I + 1;
  #end
  rotate <25, 20, 0> translate <-0.2, 0.80, -1.3>
}
